"""What is judged: predictions joined by name with labels and with what the records say of the images."""

import re

import numpy as np
import pandas as pd
from tqdm import tqdm

from tfrecord_tools import schema, tfrecords

# What groups and shortcuts are made of, where a table has it.
NUMBERS = ("width", "height", "bytes")
TEXTS = ("fold", "source", "sex", "age_approx", "anatom_site_general_challenge", "diagnosis")


def read_scores(path, keep=(), submission=False):
    """Reads the names and predictions of a prediction file.

    Args:
        path: CSV with `image_name` and `prediction`; other columns are left out.
        keep: Further columns to keep, as text, where the file has them.
        submission: Whether a submission will do too: its `target` is taken where there is no `prediction`.

    Returns:
        DataFrame of `image_name` (text), `prediction` (float64) and what of `keep` is there.

    Raises:
        ValueError: A name comes twice, or a prediction is no finite number from 0 to 1.
    """
    table = schema.read_table(path, ("image_name",) if submission else ("image_name", "prediction"))
    if "prediction" not in table:
        if "target" not in table:
            raise ValueError(f"{path} needs a column prediction, or target as in a submission; it has neither")
        table = table.rename(columns={"target": "prediction"})
    table = table[["image_name", "prediction", *(column for column in keep if column in table)]]
    schema.refuse_repeats(path, table, "hold")
    table["prediction"] = pd.to_numeric(table["prediction"], errors="coerce")
    bad = table.loc[~table["prediction"].between(0, 1), "image_name"]
    if len(bad):
        raise ValueError(f"{path}: {len(bad)} predictions are no number from 0 to 1, that of {bad.iloc[0]} first")
    return table


def read_predictions(path):
    """Reads a prediction file, or a submission, and what it says of the images.

    Args:
        path: CSV with `image_name` and `prediction`, or `target` as in a submission.

    Returns:
        DataFrame of `image_name` (text), `prediction` (float64), those of `TEXTS` and `NUMBERS` that are there and,
        beside a `prediction`, where they are there, `target` (int, 0 or 1, -1 where blank) and `stage_one` (float64,
        from 0 to 1, what `isic_tf.context` judged anew).

    Raises:
        ValueError: A name comes twice, a prediction is no finite number from 0 to 1, or another column is damaged.
    """
    table = read_scores(path, ("target", "stage_one", *TEXTS, *NUMBERS), submission=True)
    columns = ["image_name", "prediction"]
    if "target" in table:
        table["target"] = encode(path, "target", table["target"])
        columns.append("target")
    if "stage_one" in table:
        table["stage_one"] = pd.to_numeric(table["stage_one"], errors="coerce")
        bad = table.loc[~table["stage_one"].between(0, 1), "image_name"]
        if len(bad):
            raise ValueError(f"{path}: {len(bad)} of stage_one are no number from 0 to 1, that of {bad.iloc[0]} first")
        columns.append("stage_one")
    return _known(path, table, columns)


def read_labels(path):
    """Reads a table of labels.

    Args:
        path: CSV file with `image_name`, `patient_id` and `target`.

    Returns:
        DataFrame of `image_name` and `patient_id` (text), `target` (int, 0 or 1) and those of `TEXTS` and `NUMBERS`
        that are there.

    Raises:
        ValueError: A name comes twice, a target is neither 0 nor 1, or another column is damaged.
    """
    columns = ["image_name", "patient_id", "target"]
    table = schema.read_table(path, columns)
    schema.refuse_repeats(path, table, "label")
    table["target"] = encode(path, "target", table["target"])
    if (table["target"] == schema.UNKNOWN).any():
        name = table.loc[table["target"] == schema.UNKNOWN, "image_name"].iloc[0]
        raise ValueError(f"{path} must label every image, the target of {name} is blank")
    return _known(path, table, columns)


def encode(path, column, values):
    """Turns a column of a table into codes; see `schema.encode`.

    Args:
        path: The table's name for the message.
        column: Name of the column.
        values: Series of text.

    Returns:
        Series of int.

    Raises:
        ValueError: A value is none of the column's.
    """
    try:
        return values.map({value: schema.encode(column, value) for value in values.unique()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _known(path, table, columns):
    """Keeps the columns that are asked for or known, numbers as such, -1 where blank."""
    table = table[columns + [name for name in (*TEXTS, *NUMBERS) if name in table]].copy()
    for name in NUMBERS:
        if name in table:
            numbers = pd.to_numeric(table[name], errors="coerce")
            bad = table.loc[(numbers.isna() | (numbers < -1)) & (table[name] != ""), name]
            if len(bad):
                raise ValueError(f"{path}: the column {name} must hold whole numbers or blanks, got {bad.iloc[0]!r}")
            table[name] = numbers.fillna(schema.UNKNOWN).astype("int64")
    if "age_approx" in table:
        encode(path, "age_approx", table["age_approx"])
    if "fold" in table:
        # Folds that passed through other tools are written as 0.0, unknown ones as -1.
        spelled = {fold: re.sub(r"\.0+$", "", fold) for fold in table["fold"].unique()}
        table["fold"] = table["fold"].map(spelled | {"-1": "", "-1.0": ""})
    return table


def read_records(pattern):
    """Reads from records what labels may lack: the sizes of image and file, and metadata; never a target.

    Args:
        pattern: Glob pattern of shards, or several separated by commas.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, `bytes` (of the JPEG), `width`, `height` (of the original, -1
        where unknown), `sex`, `age_approx`, `anatom_site_general_challenge` and `diagnosis` (text, "" where unknown).

    Raises:
        ValueError: No shard matches, all are empty, or one is damaged.
    """
    rows = []
    for file in tqdm(schema.match(pattern), unit="shard", disable=None):
        for position, (_, _, found) in enumerate(tfrecords.read(file)):
            row = {"shard": file, "position": position, "image_name": found["image_name"], "bytes": len(found["image"])}
            row |= {name: found.get(name, schema.UNKNOWN) for name in ("width", "height")}
            row |= {name: _name(name, found.get(name, schema.UNKNOWN)) for name in TEXTS if name in schema.METADATA}
            rows.append(row)
    if not rows:
        raise ValueError(f"the shards of {pattern!r} hold no records; check --records")
    # Several sets may hold an image; the first counts.
    return pd.DataFrame(rows).drop_duplicates("image_name")


def _name(column, code):
    """Spells a record's code as tables do."""
    categories = schema.CATEGORIES.get(column)
    if code < 0 or (categories and code >= len(categories)):
        return ""
    return categories[code] if categories else str(code)


def join(path, labels_path, labels, records=None):
    """Reads a prediction file and joins it with the labels, and with records where the tables know less.

    Args:
        path: See `read_predictions`.
        labels_path: Name of the labels for messages.
        labels: See `read_labels`; it may hold more images.
        records: See `read_records`; None for none.

    Returns:
        DataFrame in the order of the labels, see `assess.assess`. A column of several sources is the prediction file's
        before the labels' before the records'.

    Raises:
        ValueError: A table is damaged, a predicted image has no label or another target than it, or no image is in
            the records.
    """
    table = read_predictions(path)
    place = pd.Index(labels["image_name"]).get_indexer(table["image_name"])
    unknown = sorted(table.loc[place < 0, "image_name"])
    if unknown:
        raise ValueError(f"{len(unknown)} images of {path} have no label in {labels_path}, {unknown[0]} first")
    order = np.argsort(place)
    table, place = table.iloc[order].reset_index(drop=True), place[order]
    if "target" in table:
        stated = table.pop("target")
        other = (stated != labels["target"].to_numpy()[place]) & (stated != schema.UNKNOWN)
        if other.any():
            name = table.loc[other, "image_name"].iloc[0]
            raise ValueError(f"{path} and {labels_path} differ in {other.sum()} targets, {name} first")
    table = _add(table, labels, place)
    if records is None:
        return table
    place = pd.Index(records["image_name"]).get_indexer(table["image_name"])
    if (place < 0).all():
        raise ValueError(f"none of the {len(table)} images of {path} is in the records; check --records")
    return _add(table, records.drop(columns=["shard", "position"]), place)


def _add(table, other, place):
    """Adds the columns that a table lacks from the rows of another, where there is one (`place` from 0)."""
    columns = [name for name in other if name not in table]
    found = other[columns].take(place).reset_index(drop=True)
    for name in columns:
        found[name] = found[name].where(place >= 0, schema.UNKNOWN if name in NUMBERS else "")
    return pd.concat([table, found], axis=1)
