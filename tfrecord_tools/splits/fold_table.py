"""Makes a fold table, or audits one."""

import numpy as np

from tfrecord_tools import schema
from tfrecord_tools.io import atomic_write, csv_tables
from tfrecord_tools.splits import fold_audit, published_folds, stratified_group_folds


def make_folds(csv, output=None, num_folds=None, seed=None, duplicates=None, preset=None, audit=None):
    """Writes a table's folds, or reads them from a file; prints what they hold and whether they leak.

    Args:
        csv: Table with `image_name` and `patient_id`, `target` where known, and `tfrecord` for a preset.
        output: CSV file to write; None where folds are audited.
        num_folds: Number of folds; None for 5.
        seed: See `assign`; None for 0.
        duplicates: CSV file of pairs that must share a fold, see `csv_tables.read_pairs`; or None.
        preset: See `preset_folds`; or None.
        audit: CSV file of folds to judge; or None.

    Raises:
        ValueError: Arguments contradict each other; a table lacks a column, lists an image twice or holds a bad value;
            there are fewer patients than folds; or a preset or a file leaks.
    """
    _refuse_contradictions(output, num_folds, seed, preset, audit)
    table = _read(csv, ("tfrecord",) if preset else ())
    pairs = csv_tables.read_pairs(duplicates) if duplicates else None
    if audit:
        table["fold"] = fold_audit.read(audit, table["image_name"])
    elif preset:
        table["fold"] = published_folds.preset_folds(table["tfrecord"], preset)
    else:
        groups = patients = table["patient"].to_numpy()
        if pairs is not None:
            groups = stratified_group_folds.join_duplicates(patients, table["image_name"], pairs)
            counts = patients.max() + 1, groups.max() + 1, np.bincount(groups).max()
            print("duplicates join {} patients to {} groups, the largest of {} images".format(*counts))
        num_folds = 5 if num_folds is None else num_folds
        table["fold"] = stratified_group_folds.assign_folds(
            groups, table["target"], num_folds, seed or 0, patients if duplicates else None
        )
    by_fold, figures = fold_audit.audit(table, pairs)
    fold_audit.show(by_fold, figures)
    fold_audit.refuse_leaks(audit or preset or csv, figures)
    if output:
        atomic_write.write_text(output, table[["image_name", "fold"]].to_csv(index=False))


def _refuse_contradictions(output, num_folds, seed, preset, audit):
    if bool(output) == bool(audit):
        raise ValueError(f"expected --output, to write folds, or --audit, got {'both' if audit else 'neither'}")
    if (audit or preset) and (num_folds, seed) != (None, None):
        raise ValueError("--audit and --preset take folds as they are; leave out --num_folds and --seed")
    if audit and preset:
        raise ValueError("expected --audit or --preset, got both; write the preset's folds first, and audit them")


def _read(csv, columns):
    """Reads a table with `patient` as a number and `target` as 1, 0 or -1, and says what it does not hold."""
    table = csv_tables.read_table(csv, ("image_name", "patient_id", *columns))
    csv_tables.refuse_repeats(csv, table, "list")
    table["patient"] = stratified_group_folds.group_codes(table["patient_id"])
    if blank := (table["patient_id"] == "").sum():
        print(f"note: {blank} images have no patient_id; each is taken for a patient of its own")
    try:
        table["target"] = [schema.encode("target", value) for value in table.get("target", [""] * len(table))]
    except ValueError as error:
        raise ValueError(f"{csv}: {error}") from error
    if unknown := (table["target"] < 0).sum():
        print(f"note: {unknown} images have no target; they count as benign")
    return table
