"""What records say besides their image, as tables: names, metadata, what an index knows of them."""

import concurrent.futures
import itertools
import os

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.data import decoding, read_errors
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, filesystem, tf_example


def parse_table(serialized, columns=()):
    """Parses a record's `image_name`, string `[]`, and some of its integers, int64 `[]`; leaves the image alone."""
    spec = tf_example.parse_spec(labelled=False)
    names = ("image_name", *columns)
    found = tf.io.parse_single_example(serialized, {name: spec[name] for name in names})
    return tuple(found[name] for name in names)


def list_records(files, columns=()):
    """Reads the name of every record, in file order, without decoding an image.

    Args:
        files: Paths of shards.
        columns: Integers of the schema to read too.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, the columns, -1 where unknown, and `labelled`: whether the
        record has a label, which is not read.

    Raises:
        IsicError: A shard is corrupt or of another schema, or a name comes twice.
    """
    tables = []
    for file in files:
        with read_errors.explained_read_errors([file]):
            dataset = decoding.read(file).map(lambda one: (parse_table(one, columns), _has_label(one)))
            found = list(dataset.as_numpy_iterator())
        table = _tabulate(file, [row for row, _ in found], columns)
        table = table.assign(shard=file, labelled=[bool(labelled) for _, labelled in found])
        tables.append(table.assign(position=table.index)[["shard", "position", "image_name", *columns, "labelled"]])
    rows = pd.concat(tables, ignore_index=True)
    twice = rows.loc[rows["image_name"].duplicated(), "image_name"]
    if len(twice):
        raise errors.IsicError(
            f"expected every image once, {len(twice)} come again in these shards, {twice.iloc[0]} first"
        )
    return rows


def _has_label(serialized):
    found = tf.io.parse_single_example(serialized, {"target": tf.io.VarLenFeature(tf.int64)})
    return tf.size(found["target"].values) > 0


def add_index(rows):
    """Adds to rows of `list_records` what the indexes beside their shards say; of test records never a target.

    Args:
        rows: DataFrame with `shard` and `image_name`.

    Returns:
        The rows with `patient_id` (text, "" where unknown) and `known_target` (int64, -1 where unknown).

    Raises:
        IsicError: An index is damaged.
    """
    columns, found = ["image_name", "patient_id", "target"], []
    for folder in sorted({os.path.dirname(shard) for shard in rows["shard"]}):
        # That of the training first: of a name in two splits, what was trained on counts.
        for name in sorted(filesystem.listdir(folder or "."), key=lambda name: (name != "train.index.csv", name)):
            if name.endswith(".index.csv"):
                own = csv_tables.read_table(os.path.join(folder, name), columns)[columns]
                found.append(own.assign(target="") if name.startswith("test") else own)
    table = pd.concat(found or [pd.DataFrame(columns=columns)]).drop_duplicates("image_name").set_index("image_name")
    targets = pd.to_numeric(rows["image_name"].map(table["target"]), errors="coerce")
    patients = rows["image_name"].map(table["patient_id"]).fillna("")
    return rows.assign(patient_id=patients, known_target=targets.fillna(schema.UNKNOWN).astype("int64"))


def add_patients(rows):
    """Fills in whose images they are, as far as the records or an index beside their shards say.

    Args:
        rows: DataFrame with `shard`, `image_name`, `patient_id` (see `add_index`) and `patient_code` (the records' own
            number, -1 where unknown).

    Returns:
        The rows with `patient_id` (text, "" where unknown). A bare number, which names others in another set or split,
        has the set and the split before it.
    """
    found = rows["patient_id"]
    codes = rows["patient_code"].astype(str).where(rows["patient_code"] >= 0, "")
    found = found.where(found != "", codes)
    splits = rows["shard"].str.replace(r"\d+-\d+\.tfrec$", "", regex=True)
    return rows.assign(patient_id=found.where(~found.str.fullmatch(r"-?\d+"), splits + ":" + found))


def _tabulate(shard, found, columns):
    """Makes a table of what `parse_table` gave of a shard's records; refuses codes that the schema does not have."""
    table = pd.DataFrame(found, columns=["image_name", *columns])
    table["image_name"] = table["image_name"].str.decode("utf-8")
    for column in columns:
        # An age and a patient have no list of codes.
        most = len(schema.CATEGORIES[column]) - 1 if column in schema.CATEGORIES else 120
        most = 2**62 if column == "patient_id" else most
        wrong = table[~table[column].between(schema.UNKNOWN, most)]
        if len(wrong):
            row = wrong.iloc[0]
            raise errors.IsicError(
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
        IsicError: A shard is corrupt or of another schema or codes, or the index is not that of the shards.
    """
    if not columns:
        return rows

    def add(item):
        shard, part = item
        wanted = np.isin(np.arange(part["position"].max() + 1), part["position"])
        # Others may be damaged.
        dataset = decoding.read(shard).take(len(wanted)).enumerate().filter(lambda place, _: tf.gather(wanted, place))
        with read_errors.explained_read_errors([shard]):
            dataset = dataset.map(lambda _, serialized: parse_table(serialized, columns))
            found = _tabulate(shard, list(dataset.as_numpy_iterator()), columns)
        ordered = part.sort_values("position")
        if found["image_name"].tolist() != ordered["image_name"].tolist():
            both = itertools.zip_longest(found["image_name"], ordered["image_name"])
            stale = next(name or there for there, name in both if there != name)
            raise errors.IsicError(f"{read_errors.STALE_NAME} {stale}; index the set again, or rebuild it")
        return ordered.assign(**{column: found[column].to_numpy() for column in columns})

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        parts = rows.groupby("shard", sort=False)
        found = list(tqdm(pool.map(add, parts), "reading metadata", total=len(parts), unit="shard", disable=None))
    return pd.concat(found).loc[rows.index]
