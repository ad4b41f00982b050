"""Tables of records without their images: names and metadata from the records, patients and targets from indexes."""

import concurrent.futures
import functools
import itertools
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.artifacts import person_numbers
from isic_tf.data import decoding, read_errors
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, filesystem, identity, manifest, tf_example

_INDEX_COLUMNS = ["image_name", "patient_id", "target"]
_MAX_AGE = 120
_MAX_PATIENT = 2**62


def parse_table(serialized: tf.Tensor | bytes, columns: Sequence[str] = ()) -> tuple[tf.Tensor, ...]:
    """Parses the name and some integers of a record, without its image.

    Args:
        serialized: string `[]`, a `tf.train.Example`.
        columns: Integers of the schema.

    Returns:
        `image_name`, string `[]`, and the integers in the order of `columns`, int64 `[]`, -1 where unknown.
    """
    spec = tf_example.parse_spec(labeled=False)
    names = ("image_name", *columns)
    found = tf.io.parse_single_example(serialized, {name: spec[name] for name in names})
    return tuple(found[name] for name in names)


def list_records(files: Sequence[str], columns: Sequence[str] = (), with_digests: bool = False) -> pd.DataFrame:
    """Lists the records of shards in file order, without decoding an image.

    Args:
        files: Paths of shards, see `tfrecord_tools.io.match_shards`.
        columns: Integers of the schema to read too, such as `sex`.
        with_digests: Whether to compute digests of the bytes of the images too, see `identity.image_digest`.

    Returns:
        DataFrame of `shard`, `position` (int, from 0), `image_name`, the columns (int64, -1 where unknown), and
        `labeled` (bool): whether the record has a label, which is not read; with digests, `image_digest` (text).

    Raises:
        CorruptRecordError: A shard is corrupt or has another schema.
        IsicError: A name occurs twice, or a code is not in the schema or not confirmed, see `refuse_unconfirmed`.

    Examples:
        >>> import tempfile
        >>> record = tf_example.to_example(b"a JPEG file", "ISIC_0000001", sex=1)
        >>> with tempfile.NamedTemporaryFile(suffix=".tfrec") as file:
        ...     with tf.io.TFRecordWriter(file.name) as writer:
        ...         writer.write(record)
        ...     rows = list_records([file.name], ["sex"])
        >>> rows[["position", "image_name", "sex"]].to_dict("records")
        [{'position': 0, 'image_name': 'ISIC_0000001', 'sex': 1}]
    """
    refuse_unconfirmed(files, columns)
    rows = pd.concat([_list_shard(file, columns, with_digests) for file in files], ignore_index=True)
    repeated = rows.loc[rows["image_name"].duplicated(), "image_name"]
    if len(repeated):
        raise errors.IsicError(
            f"expected every image once, {len(repeated)} occur again in these shards (first: {repeated.iloc[0]}); name "
            "shards of one split and one record set only"
        )
    return rows


# AutoGraph has nothing to convert here, and takes longer than reading a shard.
@tf.autograph.experimental.do_not_convert
def _list_shard(file: str, columns: Sequence[str], with_digests: bool) -> pd.DataFrame:
    def parse(serialized: tf.Tensor) -> tuple[Any, ...]:
        image = decoding.parse(serialized, labeled=False)["image"] if with_digests else tf.constant(b"")
        return parse_table(serialized, columns), _has_label(serialized), image

    found = []
    digests = []
    labeled = []
    with read_errors.explained_read_errors([file]):
        for row, has_label, image in decoding.read(file).map(parse).as_numpy_iterator():
            found.append(row)
            labeled.append(bool(has_label))
            digests.append(identity.image_digest(image))
    table = _make_table(file, found, columns)
    table = table.assign(shard=file, labeled=labeled, position=table.index, image_digest=digests)
    digest_columns = ["image_digest"] if with_digests else []
    return table[["shard", "position", "image_name", *columns, "labeled", *digest_columns]]


def _has_label(serialized: tf.Tensor) -> tf.Tensor:
    found = tf.io.parse_single_example(serialized, {"target": tf.io.VarLenFeature(tf.int64)})
    return tf.size(found["target"].values) > 0


def add_index(rows: pd.DataFrame) -> pd.DataFrame:
    """Adds what the indexes next to the shards list of the records; never a target of a test record.

    Args:
        rows: DataFrame with `shard` and `image_name`, see `list_records`.

    Returns:
        The rows with `patient_id` (text, one spelling per patient), `lesion_id` (text), the columns of
        `person_numbers.add_keys` ("" where unknown) and `known_target` (int64, -1 where unknown).

    Raises:
        IsicError: An index is damaged.
    """
    names = [*_INDEX_COLUMNS, "lesion_id"]
    tables = [person_numbers.add_keys(pd.DataFrame(columns=names, dtype=object))]
    for directory in sorted({os.path.dirname(shard) for shard in rows["shard"]}):
        files = [name for name in filesystem.listdir(directory or ".") if name.endswith(".index.csv")]
        files = [name for name in files if filesystem.is_regular(os.path.join(directory, name))]
        # Training before test: for a name in both splits, the training index counts.
        for name in sorted(files, key=lambda name: (name != "train.index.csv", name)):
            table = csv_tables.read_table(os.path.join(directory, name), _INDEX_COLUMNS)
            table = person_numbers.add_keys(table.reindex(columns=names, fill_value=""))
            tables.append(table.assign(target="") if name.startswith("test") else table)
    index = pd.concat(tables).drop_duplicates("image_name").set_index("image_name")
    targets = pd.to_numeric(rows["image_name"].map(index["target"]), errors="coerce")
    texts = ("patient_id", "lesion_id", *person_numbers.COLUMNS)
    found = rows.assign(**{name: rows["image_name"].map(index[name]).fillna("") for name in texts})
    return found.assign(
        patient_id=person_numbers.first_spellings(found["patient_id"], found["patient_key"]),
        known_target=targets.fillna(schema.UNKNOWN).astype("int64"),
    )


def add_patients(rows: pd.DataFrame) -> pd.DataFrame:
    """Completes the patients of images from the records, where the indexes next to their shards do not list them.

    Args:
        rows: DataFrame with `shard`, `image_name`, the columns that `add_index` adds, and `patient_code` (the number in
            the record, -1 where unknown).

    Returns:
        The rows with `patient_id` and `patient_key` (text, "" where unknown). A bare number, which means another
        patient in another set or split, is prefixed in `patient_id` with the set and the split.
    """
    rows = person_numbers.with_keys(rows)
    splits = rows["shard"].str.replace(r"\d+-\d+\.tfrec$", "", regex=True)
    codes = rows["patient_code"].astype(str).where(rows["patient_code"] >= 0, "")
    coded = [person_numbers.add_keys(part.assign(patient_id=codes)) for _, part in rows.groupby(splits, sort=False)]
    is_unlisted = rows["patient_key"] == ""
    keys = rows["patient_key"].mask(is_unlisted, pd.concat(coded)["patient_key"])
    numbers = person_numbers.split_keys(keys)["number"]
    patients = rows["patient_id"].mask(is_unlisted, "").mask(numbers.notna(), splits + ":" + numbers.fillna(""))
    return rows.assign(patient_id=patients, patient_key=keys)


def refuse_unconfirmed(files: Iterable[str], columns: Sequence[str]) -> None:
    """Refuses codes of records that others made, where no table has confirmed what they mean.

    Args:
        files: Paths of shards.
        columns: Names of the columns that are used.

    Raises:
        IsicError: The manifest beside a shard lists one of the columns.
    """
    for file, names in manifest.find_unconfirmed(files, columns).items():
        raise errors.IsicError(
            f"{file}: expected codes of {', '.join(names)} that a table confirms, but none did for all of them when "
            "these records were indexed, and records that others made may number them in another way; run "
            "tfrecord_tools.index again with --csv, a table that has these columns for images of every code"
        )


def _make_table(shard: str, found: Sequence[tuple[Any, ...]], columns: Sequence[str]) -> pd.DataFrame:
    """Makes a table of the results of `parse_table` for a shard; refuses codes that are not in the schema."""
    table = pd.DataFrame(found, columns=["image_name", *columns])
    table["image_name"] = table["image_name"].str.decode("utf-8")
    if "patient_id" in columns:
        # As in tables, numbers below 0 stand for unknown patients.
        table["patient_id"] = table["patient_id"].clip(lower=schema.UNKNOWN)
    for column in columns:
        most = _find_largest_code(column)
        wrong = table[~table[column].between(schema.UNKNOWN, most)]
        if len(wrong):
            row = wrong.iloc[0]
            raise errors.IsicError(
                f"{shard}: expected {column} from {schema.UNKNOWN} to {most}, {row['image_name']} has {row[column]}; "
                "records made with other tools may use other codes than tfrecord_tools.schema: rebuild them from a "
                "table"
            )
    return table


def _find_largest_code(column: str) -> int:
    if column in schema.CATEGORIES:
        return len(schema.CATEGORIES[column]) - 1
    return _MAX_PATIENT if column == "patient_id" else _MAX_AGE


def add_columns(rows: pd.DataFrame, columns: Sequence[str], threads: int) -> pd.DataFrame:
    """Adds integers of the records to the rows of an index.

    Args:
        rows: DataFrame with `shard`, `position` and `image_name`.
        columns: Integers of the schema to read.
        threads: Shards read at once.

    Returns:
        The rows with these columns, int64, -1 where unknown.

    Raises:
        CorruptRecordError: A shard is corrupt or has another schema, or the index does not match the shards.
        IsicError: A code is not in the schema or not confirmed, see `refuse_unconfirmed`.
    """
    if not columns:
        return rows
    refuse_unconfirmed(rows["shard"], columns)
    shards = rows.groupby("shard", sort=False)
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        tables = pool.map(functools.partial(_add_columns_of_shard, columns), shards)
        found = list(tqdm(tables, "reading metadata", total=len(shards), unit="shard", disable=None))
    return pd.concat(found).loc[rows.index]


@tf.autograph.experimental.do_not_convert
def _add_columns_of_shard(columns: Sequence[str], item: tuple[str, pd.DataFrame]) -> pd.DataFrame:
    shard, rows = item
    rows = rows.sort_values("position")
    decoding.check_positions(rows)
    wanted = np.isin(np.arange(rows["position"].max() + 1), rows["position"])
    # Only the wanted records are parsed, since others may be damaged.
    numbered = decoding.read(shard).take(len(wanted)).enumerate()
    dataset = numbered.filter(lambda position, _: tf.gather(wanted, position))
    with read_errors.explained_read_errors([shard]):
        parsed = dataset.map(lambda _, serialized: parse_table(serialized, columns))
        table = _make_table(shard, list(parsed.as_numpy_iterator()), columns)
    if table["image_name"].tolist() != rows["image_name"].tolist():
        pairs = itertools.zip_longest(table["image_name"], rows["image_name"])
        stale = next(listed or found for found, listed in pairs if found != listed)
        raise errors.CorruptRecordError(f"{read_errors.STALE_NAME} {stale}; index the set again, or rebuild it")
    return rows.assign(**{column: table[column].to_numpy() for column in columns})
