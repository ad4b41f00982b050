"""Reads, joins and writes prediction files."""

import logging

import pandas as pd

from isic_tf.artifacts import prediction_sidecar
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, csv_tables

_LOG = logging.getLogger(__name__)


def join_by_name(paths, tables, join):
    """Brings prediction tables into the order of the first.

    Args:
        paths: What each table is called, `[files]`.
        tables: DataFrames with `image_name`, each name once.
        join: `equal` where all must have the same names, `inner` to keep those that all have.

    Returns:
        The tables, rows in one order; and a list of texts that say what was left out.

    Raises:
        IsicError: The names differ under `equal`, or no name is in all files.
    """
    # Objects: what pandas does with text of its own is twenty times as slow to look up.
    first, *others = (pd.Index(table["image_name"], dtype=object) for table in tables)
    common, notes = first, []
    for path, names in zip(paths[1:], others, strict=True):
        common = common[names.get_indexer(common) >= 0]
        kinds = {paths[0]: first[names.get_indexer(first) < 0], path: names[first.get_indexer(names) < 0]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in kinds.items() if len(own)]
        if texts and join == "equal":
            raise errors.IsicError(
                f"the images of the files differ: {'; '.join(texts)}; --join=inner blends those in all"
            )
        notes += texts
    if not len(common):
        raise errors.IsicError(f"no image is in all of {', '.join(paths)}; check the files")
    if notes:
        notes = [f"{len(common)} images are in all files; left out: {'; '.join(notes)}"]
    rows = (names.get_indexer(common) for names in (first, *others))
    return [table.iloc[row].reset_index(drop=True) for table, row in zip(tables, rows, strict=True)], notes


def read_prediction_file(path, keep=(), submission=False):
    """Reads the names and predictions of a prediction file.

    Args:
        path: CSV with `image_name` and `prediction`; other columns are left out.
        keep: Further columns to keep, as text, where the file has them.
        submission: Whether a submission will do too: its `target` is taken where there is no `prediction`.

    Returns:
        DataFrame of `image_name` (text), `prediction` (float64) and what of `keep` is there.

    Raises:
        IsicError: A name comes twice, or a prediction is no finite number from 0 to 1.
    """
    table = csv_tables.read_table(path, ("image_name",) if submission else ("image_name", "prediction"))
    if "prediction" not in table:
        if "target" not in table:
            raise errors.IsicError(f"{path} needs a column prediction, or target as in a submission; it has neither")
        table = table.rename(columns={"target": "prediction"})
    table = table[["image_name", "prediction", *(column for column in keep if column in table)]]
    csv_tables.refuse_repeats(path, table, "hold")
    table["prediction"] = pd.to_numeric(table["prediction"], errors="coerce")
    bad = table.loc[~table["prediction"].between(0, 1), "image_name"]
    if len(bad):
        raise errors.IsicError(f"{path}: {len(bad)} predictions are no number from 0 to 1, that of {bad.iloc[0]} first")
    return table


def write_predictions(path, table, *, patient_context, made_by, **facts):
    """Writes a prediction file or a submission, and its sidecar.

    Args:
        path: CSV file to write.
        table: DataFrame of `image_name`, then `prediction` (or `target`, as in a submission), and perhaps more.
        patient_context: See `prediction_sidecar.write_sidecar`.
        made_by: The command that made it.
        **facts: Further facts for the sidecar.

    Raises:
        IsicError: A prediction is not a number from 0 to 1.
    """
    values = table.iloc[:, 1]
    bad = table.loc[~values.between(0, 1), "image_name"]
    if len(bad):
        raise errors.IsicError(f"{len(bad)} predictions are no number from 0 to 1, that of {bad.iloc[0]} first")
    prediction_sidecar.write_sidecar(path, patient_context=patient_context, made_by=made_by, **facts)
    atomic_write.write_text(path, table.to_csv(index=False))
    _LOG.info(f"wrote {len(table)} predictions to {path}, mean {values.mean():.4f}")
