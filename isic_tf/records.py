"""From shards on disk to decoded images: what to read, read, parse, decode."""

import concurrent.futures
import contextlib
import itertools
import os
import re

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tfrecord_tools import schema, storage

STALE_LABEL = "index and record disagree on the target of"
STALE_NAME = "the shard holds another record where the index has"
READ_ERRORS = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)


def training_files(index, fold):
    """Splits a record set's index for one fold.

    Args:
        index: See `schema.read_index`.
        fold: The held-out fold; None to hold out nothing.

    Returns:
        Two DataFrames of index rows: to train on, and held out. Their patients may share shards.

    Raises:
        ValueError: The fold is not in the index or has one class only, labels are missing, or a patient is in both
            parts.
    """
    folds = sorted(set(index["fold"]) - {schema.UNKNOWN})
    if fold is not None and fold not in folds:
        raise ValueError(f"expected one of the index's folds {folds or '(it has none)'}, got fold {fold}")
    held_out = index[index["fold"] == fold] if fold is not None else index[:0]
    # Where there are folds, a record in none is a duplicate of another.
    kept = index[~index["fold"].isin([fold, schema.UNKNOWN])] if folds else index
    parts = {"training part": kept} | ({} if fold is None else {"held-out part": held_out})
    for part, rows in parts.items():
        if {0, 1} != set(rows["target"]):
            name = "full" if fold is None else f"fold {fold}"
            raise ValueError(f"{name}: the {part} must have both classes and no blanks, has {set(rows['target'])}")
    leaks = sorted((set(kept["patient_id"]) & set(held_out["patient_id"])) - {""})
    if leaks:
        raise ValueError(
            f"fold {fold} leaks: {len(leaks)} patients are in training too, {leaks[0]} first; remake folds"
        )
    return kept, held_out


def read(files):
    """Reads serialized records in file order.

    Args:
        files: Path of a shard, or several.

    Returns:
        Dataset of string `[]`.
    """
    return tf.data.TFRecordDataset(files)


def parse(serialized, labelled):
    """Parses one record.

    Args:
        serialized: string `[]`.
        labelled: Whether to read the label; a test record never yields one.

    Returns:
        Dict of `image` (JPEG, string `[]`), `image_name` (string `[]`), the schema's integers (int64 `[]`, -1 where
        unknown) and, where labelled, `target`.
    """
    return tf.io.parse_single_example(serialized, schema.parse_spec(labelled))


def parse_table(serialized, columns=()):
    """Parses a record's `image_name`, string `[]`, and some of its integers, int64 `[]`; leaves the image alone."""
    spec = schema.parse_spec(labelled=False)
    names = ("image_name", *columns)
    found = tf.io.parse_single_example(serialized, {name: spec[name] for name in names})
    return tuple(found[name] for name in names)


def decode(image, image_size):
    """Decodes a JPEG to a square of one size.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg), so that no more pixels are decoded than the smallest
    such size that is not below `image_size`; a resize is left only where that is not exact.

    Args:
        image: JPEG, string `[]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[S, S, 3]`, RGB.
    """
    side = tf.reduce_min(tf.io.extract_jpeg_shape(image)[:2])
    # libjpeg rounds a scaled side up.
    fits = [-(-side // ratio) >= image_size for ratio in (8, 4, 2)]
    decoded = tf.case(
        [(fit, _scaled_decode(image, ratio)) for fit, ratio in zip(fits, (8, 4, 2), strict=True)],
        default=_scaled_decode(image, 1),
    )
    exact = tf.reduce_all(tf.equal(tf.shape(decoded)[:2], image_size))
    resized = tf.cond(exact, lambda: decoded, lambda: _resize(decoded, image_size))
    return tf.ensure_shape(resized, [image_size, image_size, 3])


def _scaled_decode(image, ratio):
    return lambda: tf.io.decode_jpeg(image, channels=3, ratio=ratio)


def _resize(image, image_size):
    sides = tf.shape(image)[:2]
    size = [image_size, image_size]

    def bilinear():
        return tf.raw_ops.ResizeBilinear(images=image[tf.newaxis], size=size, half_pixel_centers=True)[0]

    def area_or_antialiased():
        # The area average comes as near to an antialiased resize on photographs and costs a quarter; it cannot enlarge.
        return tf.cond(
            tf.reduce_all(sides >= image_size),
            lambda: tf.image.resize(image, size, "area"),
            lambda: tf.image.resize(image, size, antialias=True),
        )

    # Up to 4/3 (512 px to 384) four neighbours leave out next to nothing, in half the time again.
    near = tf.reduce_all((sides >= image_size) & (3 * sides <= 4 * image_size))
    # All three are averages, so none leaves the range.
    return tf.cast(tf.cond(near, bilinear, area_or_antialiased) + 0.5, tf.uint8)


def list_records(files, columns=()):
    """Reads the name of every record, in file order, without decoding an image.

    Args:
        files: Paths of shards.
        columns: Integers of the schema to read too.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, the columns, -1 where unknown, and `labelled`: whether the
        record has a label, which is not read.

    Raises:
        ValueError: A shard is corrupt or of another schema, or a name comes twice.
    """
    tables = []
    for file in files:
        with explained([file]):
            dataset = read(file).map(lambda serialized: (parse_table(serialized, columns), _has_label(serialized)))
            found, labelled = zip(*dataset.as_numpy_iterator(), strict=True) or ([], [])
        table = _tabulate(file, found, columns).assign(shard=file, labelled=labelled)
        tables.append(table.assign(position=table.index)[["shard", "position", "image_name", *columns, "labelled"]])
    rows = pd.concat(tables, ignore_index=True)
    twice = rows.loc[rows["image_name"].duplicated(), "image_name"]
    if len(twice):
        raise ValueError(f"expected every image once, {len(twice)} come again in these shards, {twice.iloc[0]} first")
    return rows


def _has_label(serialized):
    found = tf.io.parse_single_example(serialized, {"target": tf.io.VarLenFeature(tf.int64)})
    return tf.size(found["target"].values) > 0


def add_index(rows):
    """Adds to rows of `list_records` what an index of training records beside their shards says.

    Args:
        rows: DataFrame with `shard` and `image_name`.

    Returns:
        The rows with `patient_id` (text, "" where unknown) and `known_target` (int64, -1 where unknown).

    Raises:
        ValueError: An index is damaged.
    """
    columns, found = ["image_name", "patient_id", "target"], []
    for folder in sorted({os.path.dirname(shard) for shard in rows["shard"]}):
        path = os.path.join(folder, "train.index.csv")
        if storage.exists(path):
            found.append(schema.read_table(path, columns)[columns])
    table = pd.concat(found or [pd.DataFrame(columns=columns)]).drop_duplicates("image_name").set_index("image_name")
    targets = pd.to_numeric(rows["image_name"].map(table["target"]), errors="coerce")
    patients = rows["image_name"].map(table["patient_id"]).fillna("")
    return rows.assign(patient_id=patients, known_target=targets.fillna(schema.UNKNOWN).astype("int64"))


def _tabulate(shard, found, columns):
    """Makes a table of what `parse_table` gave of a shard's records; refuses codes that the schema does not have."""
    table = pd.DataFrame(found, columns=["image_name", *columns])
    table["image_name"] = table["image_name"].str.decode("utf-8")
    for column in columns:
        # An age has no list of codes.
        most = len(schema.CATEGORIES[column]) - 1 if column in schema.CATEGORIES else 120
        wrong = table[~table[column].between(schema.UNKNOWN, most)]
        if len(wrong):
            row = wrong.iloc[0]
            raise ValueError(
                f"{shard}: expected {column} from {schema.UNKNOWN} to {most}, {row['image_name']} has {row[column]}; "
                "records that others made may have other codes than tfrecord_tools.schema: rebuild them from a table"
            )
    return table


def add_columns(rows, columns, threads):
    """Adds to rows of an index what their records say.

    Args:
        rows: DataFrame with `shard`, `position` and `image_name`.
        columns: Integers of the schema to read.
        threads: Shards read at once.

    Returns:
        The rows with these columns, -1 where unknown.

    Raises:
        ValueError: A shard is corrupt or of another schema or codes, or the index is not that of the shards.
    """
    if not columns:
        return rows

    def add(item):
        shard, part = item
        wanted = np.isin(np.arange(part["position"].max() + 1), part["position"])
        # Others may be damaged.
        dataset = read(shard).take(len(wanted)).enumerate().filter(lambda place, _: tf.gather(wanted, place))
        with explained([shard]):
            dataset = dataset.map(lambda _, serialized: parse_table(serialized, columns))
            found = _tabulate(shard, list(dataset.as_numpy_iterator()), columns)
        ordered = part.sort_values("position")
        if found["image_name"].tolist() != ordered["image_name"].tolist():
            both = itertools.zip_longest(found["image_name"], ordered["image_name"])
            stale = next(name or there for there, name in both if there != name)
            raise ValueError(f"{STALE_NAME} {stale}; index the set again, or rebuild it")
        return ordered.assign(**{column: found[column].to_numpy() for column in columns})

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        parts = rows.groupby("shard", sort=False)
        found = list(tqdm(pool.map(add, parts), "reading metadata", total=len(parts), unit="shard", disable=None))
    return pd.concat(found).loc[rows.index]


def explain(files, error):
    """Finds what is wrong with the records that made a dataset fail.

    Args:
        files: Paths of the shards that were read.
        error: `tf.errors.OpError` that was raised.

    Returns:
        ValueError that names the shard and the record's position in it, or the image; `error` itself where the records
        are not to blame.
    """
    if stale := re.search(rf"({STALE_LABEL}|{STALE_NAME})\W+([^\]\"]+)", error.message):
        return ValueError(f"{stale[1]} {stale[2]}; index the set again, or rebuild it")
    if "expected to contain" in error.message:
        return ValueError("the index lists more images than its shards hold; index the set again, or rebuild it")
    of_records = isinstance(error, tf.errors.DataLossError) or re.search("(?i)jpe?g|feature|example", error.message)
    for file in files if of_records else ():
        position = 0
        try:
            for serialized in tf.data.TFRecordDataset(file):
                record = parse(serialized, labelled=False)
                tf.io.decode_jpeg(record["image"], channels=3, ratio=8)
                position += 1
        except tf.errors.OpError as found:
            reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", found.message.split("\n")[0]).strip()
            return ValueError(f"{file} is corrupt at record {position}: {reason}; make or fetch this shard again")
    return error


@contextlib.contextmanager
def explained(files):
    """Turns a failure of records that are read inside the block into the ValueError that `explain` gives."""
    try:
        yield
    except READ_ERRORS as error:
        explanation = explain(files, error)
        if explanation is error:
            raise
        raise explanation from error
