"""Leaves out the records that cannot be read: what `--on_corrupt=skip` does, before the first step.

TensorFlow's reader cannot go on behind a damaged record, and `ignore_errors` loses the rest of its shard without a
word, or stalls. So all is read once beforehand; the order of a run is then that of its good records, on every worker
and after every resume.
"""

import concurrent.futures
import functools
import itertools
import os
import tempfile

import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tfrecord_tools.io import filesystem, tfrecord

_AT_ONCE = 64


def skip_corrupt(rows, threads):
    """Reads and decodes every record, and leaves out those that cannot be.

    The good records of a shard with a damaged frame are copied to a temporary file, which lasts as long as the process.

    Args:
        rows: DataFrame with `shard`, `position` and `image_name` of all records that a run will read.
        threads: Images decoded at once.

    Returns:
        The rows of good records in their order, `shard` and `position` being where they can be read now; and a list of
        texts, one a record left out: its shard, position and name, and why.
    """
    kept, problems = [], []
    progress = tqdm(rows.groupby("shard", sort=False), "checking records", unit="shard", disable=None)
    for shard, group in progress:
        reasons, broken = examine(shard, threads)
        good = [name for name, reason in reasons.items() if not reason]
        group = group.assign(reason=_reasons_of(group, reasons))
        for row in group[group["reason"] != ""].itertuples():
            problems.append(f"{shard}, record {row.position} ({row.image_name}): {row.reason}")
        part = group[group["reason"] == ""].drop(columns="reason")
        if broken and good:
            places = {name: place for place, name in enumerate(good)}
            part = part.assign(shard=_copy(shard, set(good)), position=part["image_name"].map(places))
        kept.append(part)
    return pd.concat(kept).loc[lambda table: rows.index[rows.index.isin(table.index)]], problems


def describe(problems, most=10):
    """Lists what was left out, on lines that follow another; "" where nothing was."""
    shown = [f"\n  {problem}" for problem in problems[:most]]
    more = [f"\n  and {len(problems) - most} more"] if len(problems) > most else []
    return "".join([f"; {len(problems)} corrupt records left out:", *shown, *more]) if problems else ""


def _reasons_of(group, reasons):
    """Gives for each row "" or why it cannot be read: by its name, or where that is lost by its position."""
    return [
        reasons.get(row.image_name, reasons.get(row.position, "lost with a damaged record before it"))
        for row in group.itertuples()
    ]


def examine(shard, threads):
    """Reads a shard through, over damage too, and decodes its images at an eighth of their size.

    Args:
        shard: Path.
        threads: Images decoded at once.

    Returns:
        Dict from a record's name, or its position where the name cannot be read, to "" or what is wrong with it, in
        the file's order; and whether a frame is damaged, so that TensorFlow cannot read over it.
    """
    reasons, broken = {}, False
    found = enumerate(tfrecord.scan(shard))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        # By the piece: a pool takes all that it is given into memory.
        while piece := list(itertools.islice(found, _AT_ONCE)):
            broken |= any(problem for _, (_, _, problem) in piece)
            reasons |= dict(pool.map(_examine_record, piece))
    return reasons, broken


def _examine_record(item):
    position, (_, data, problem) = item
    if problem:
        return position, problem
    features, problems = tfrecord.parse(data)
    try:
        # An eighth reads all of the JPEG's data.
        tf.io.decode_jpeg(features.get("image", b""), channels=3, ratio=8)
    except tf.errors.InvalidArgumentError:
        problems = problems or ["the image cannot be decoded"]
    return features.get("image_name", position), "; ".join(problems)


@functools.cache
def _folder():
    # Removed when the process ends.
    return tempfile.TemporaryDirectory(prefix="isic_tf_")


def _copy(shard, good):
    """Copies the records of the names in `good` to a temporary file; gives its path."""
    handle, path = tempfile.mkstemp(prefix=f"{os.path.basename(shard)}-", dir=_folder().name)
    with filesystem.open(path, "wb") as file:
        os.close(handle)
        for _, data, problem in tfrecord.scan(shard):
            if not problem and tfrecord.parse(data)[0].get("image_name") in good:
                tfrecord.write(file, data)
    return path
