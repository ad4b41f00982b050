"""Joins predictions with labels and with the metadata of records."""

import numpy as np
import pandas as pd
from tqdm import tqdm

from isic_tf.artifacts import prediction_files
from isic_tf.data import label_tables
from tfrecord_tools import errors, schema
from tfrecord_tools.io import record_index, tfrecord


def read_predictions(path):
    """Reads a prediction file, or a submission, and what it says of the images.

    Args:
        path: CSV with `image_name` and `prediction`, or `target` as in a submission.

    Returns:
        DataFrame of `image_name` (text), `prediction` (float64), those of `TEXTS` and `NUMBERS` that are there and,
        beside a `prediction`, where they are there, `target` (int, 0 or 1, -1 where blank) and `stage_one` (float64,
        from 0 to 1, what `isic_tf.context` judged anew).

    Raises:
        IsicError: A name comes twice, a prediction is no finite number from 0 to 1, or another column is damaged.
    """
    table = prediction_files.read_prediction_file(
        path, ("target", "stage_one", *label_tables.TEXTS, *label_tables.NUMBERS), submission=True
    )
    columns = ["image_name", "prediction"]
    if "target" in table:
        table["target"] = label_tables.encode_columns(path, "target", table["target"])
        columns.append("target")
    if "stage_one" in table:
        table["stage_one"] = pd.to_numeric(table["stage_one"], errors="coerce")
        bad = table.loc[~table["stage_one"].between(0, 1), "image_name"]
        if len(bad):
            raise errors.IsicError(
                f"{path}: {len(bad)} of stage_one are no number from 0 to 1, that of {bad.iloc[0]} first"
            )
        columns.append("stage_one")
    return label_tables._known(path, table, columns)


def read_records(pattern):
    """Reads from records what labels may lack: the sizes of image and file, and metadata; never a target.

    Args:
        pattern: Glob pattern of shards, or several separated by commas.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, `bytes` (of the JPEG), `width`, `height` (of the original, -1
        where unknown), `sex`, `age_approx`, `anatom_site_general_challenge` and `diagnosis` (text, "" where unknown).

    Raises:
        IsicError: No shard matches, all are empty, or one is damaged.
    """
    rows = []
    for file in tqdm(record_index.match_shards(pattern), unit="shard", disable=None):
        for position, (_, _, found) in enumerate(tfrecord.read(file)):
            row = {"shard": file, "position": position, "image_name": found["image_name"], "bytes": len(found["image"])}
            row |= {name: found.get(name, schema.UNKNOWN) for name in ("width", "height")}
            row |= {
                name: _name(name, found.get(name, schema.UNKNOWN))
                for name in label_tables.TEXTS
                if name in schema.METADATA
            }
            rows.append(row)
    if not rows:
        raise errors.IsicError(f"the shards of {pattern!r} hold no records; check --records")
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
        DataFrame in the order of the labels, see `evaluator.assess`. A column of several sources is the prediction file's
        before the labels' before the records'.

    Raises:
        IsicError: A table is damaged, a predicted image has no label or another target than it, or no image is in
            the records.
    """
    table = read_predictions(path)
    place = pd.Index(labels["image_name"]).get_indexer(table["image_name"])
    unknown = sorted(table.loc[place < 0, "image_name"])
    if unknown:
        raise errors.IsicError(f"{len(unknown)} images of {path} have no label in {labels_path}, {unknown[0]} first")
    order = np.argsort(place)
    table, place = table.iloc[order].reset_index(drop=True), place[order]
    if "target" in table:
        stated = table.pop("target")
        other = (stated != labels["target"].to_numpy()[place]) & (stated != schema.UNKNOWN)
        if other.any():
            name = table.loc[other, "image_name"].iloc[0]
            raise errors.IsicError(f"{path} and {labels_path} differ in {other.sum()} targets, {name} first")
    table = _add(table, labels, place)
    if records is None:
        return table
    place = pd.Index(records["image_name"]).get_indexer(table["image_name"])
    if (place < 0).all():
        raise errors.IsicError(f"none of the {len(table)} images of {path} is in the records; check --records")
    return _add(table, records.drop(columns=["shard", "position"]), place)


def _add(table, other, place):
    """Adds the columns that a table lacks from the rows of another, where there is one (`place` from 0)."""
    columns = [name for name in other if name not in table]
    found = other[columns].take(place).reset_index(drop=True)
    for name in columns:
        found[name] = found[name].where(place >= 0, schema.UNKNOWN if name in label_tables.NUMBERS else "")
    return pd.concat([table, found], axis=1)
