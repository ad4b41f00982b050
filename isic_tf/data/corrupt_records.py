"""Leaves out records that cannot be read: what `--on_corrupt=skip` does before the first training step.

TensorFlow's reader cannot continue after a damaged record, and `ignore_errors` silently loses the rest of the shard, or
stalls. So all records are read once beforehand. The order of a run is then that of its intact records, on every worker
and after every resume.
"""

import atexit
import concurrent.futures
import contextlib
import functools
import itertools
import os
import secrets
from collections.abc import Mapping, Sequence

import pandas as pd
from tqdm import tqdm

from isic_tf.data import decoding
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, temporary_files, tfrecord

_RECORDS_AT_ONCE = 64


def skip_corrupt(rows: pd.DataFrame, threads: int, directory: str | None = None) -> tuple[pd.DataFrame, list[str]]:
    """Reads and decodes every record, and leaves out those that cannot be read.

    Intact records of a shard with a damaged frame are copied to a temporary file, which exists until the process ends;
    that of a process that was killed, until the next one that writes to the directory.

    Args:
        rows: DataFrame with `shard`, `position` and `image_name` of all records that a run will read.
        threads: Images decoded at once.
        directory: Where to keep the temporary files, which hold patients' images, such as the run directory; the
            system's directory for temporary files if None.

    Returns:
        The rows of intact records in the same order, with the `shard` and `position` where they can now be read; and
        a text for each record that was left out: its shard, position and name, and the reason.

    Raises:
        CorruptRecordError: A shard is compressed as a whole.
    """
    kept = []
    problems = []
    for shard, group in tqdm(rows.groupby("shard", sort=False), "checking records", unit="shard", disable=None):
        reasons, frames_damaged = examine(shard, threads)
        reasons_of_rows = _find_reasons(group, reasons)
        for row, reason in zip(group.itertuples(), reasons_of_rows, strict=True):
            if reason:
                problems.append(f"{shard}, record {row.position} ({row.image_name}): {reason}")
        intact_rows = group[[not reason for reason in reasons_of_rows]]
        intact_names = [name for name, reason in reasons.items() if not reason]
        if frames_damaged and intact_names:
            places = {name: place for place, name in enumerate(intact_names)}
            copy = _copy(shard, set(intact_names), _temporary_directory(directory))
            intact_rows = intact_rows.assign(shard=copy, position=intact_rows["image_name"].map(places))
        kept.append(intact_rows)
    found = pd.concat(kept)
    return found.loc[rows.index[rows.index.isin(found.index)]], problems


def describe(problems: Sequence[str], most: int = 10) -> str:
    """Lists the records that were left out, to be added to a log line.

    Args:
        problems: See `skip_corrupt`.
        most: Largest number of records that are listed.

    Returns:
        "; N corrupt records left out:" and a line per record; "" if there are none.
    """
    if not problems:
        return ""
    lines = [f"; {len(problems)} corrupt records left out:"]
    lines += [f"  {problem}" for problem in problems[:most]]
    if len(problems) > most:
        lines.append(f"  and {len(problems) - most} more")
    return "\n".join(lines)


def _find_reasons(group: pd.DataFrame, reasons: Mapping[str | int, str]) -> list[str]:
    """Returns for each row "" or why it cannot be read: by its name, or where that is lost by its position."""
    lost = "lost with a damaged record before it"
    return [reasons.get(row.image_name, reasons.get(row.position, lost)) for row in group.itertuples()]


def examine(shard: str, threads: int) -> tuple[dict[str | int, str], bool]:
    """Reads a shard to its end, past damaged records, and decodes its images at an eighth of their size.

    Args:
        shard: Path.
        threads: Images decoded at once.

    Returns:
        Dict from the name of a record, or its position if the name cannot be read, to "" or what is wrong with it, in
        file order; and whether a frame is damaged, so that TensorFlow cannot read past it.

    Raises:
        CorruptRecordError: The shard is compressed as a whole.
    """
    tfrecord.refuse_compressed(shard)
    reasons: dict[str | int, str] = {}
    frames_damaged = False
    records = enumerate(tfrecord.scan(shard))
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        # In parts, since a pool takes everything that it is given into memory.
        while part := list(itertools.islice(records, _RECORDS_AT_ONCE)):
            frames_damaged |= any(problem for _, (_, _, problem) in part)
            reasons.update(pool.map(_examine_record, part))
    return reasons, frames_damaged


def _examine_record(item: tuple[int, tuple[int, bytes | None, str]]) -> tuple[str | int, str]:
    position, (_, data, problem) = item
    if problem or data is None:
        return position, problem
    features, problems = tfrecord.parse(data)
    if not problems:
        image = features["image"]
        problem = decoding.find_problem(image) or _find_damage(image)
    return features.get("image_name", position), "; ".join(problems) or problem


def _find_damage(image: bytes) -> str:
    """Returns what a decoder only warns of; TensorFlow goes on with what it could read of such an image."""
    # Only here, since training as such needs neither OpenCV nor simplejpeg.
    from tfrecord_tools.imaging import codec

    try:
        codec.decode(image, "the image", at_least=1)
    except errors.CorruptRecordError as error:
        return str(error).split("; ")[0]
    return ""


@functools.cache
def _temporary_directory(parent: str | None) -> str:
    opened = contextlib.ExitStack()
    # Removed when the process ends.
    atexit.register(opened.close)
    return opened.enter_context(temporary_files.temporary_directory("records", parent))


def _copy(shard: str, names: set[str | int], directory: str) -> str:
    """Copies the records of these names to a temporary file, and returns its path."""
    path = os.path.join(directory, f"{os.path.basename(shard)}-{secrets.token_hex(4)}")
    # Somebody may have removed the run directory since it was created.
    filesystem.makedirs(directory)
    with filesystem.open(path, "wb") as file:
        for _, data, problem in tfrecord.scan(shard):
            if problem or data is None:
                continue
            features, _ = tfrecord.parse(data)
            if features.get("image_name") in names:
                tfrecord.write(file, data)
    return path
