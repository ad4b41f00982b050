"""Makes a fold table, or audits one."""

import dataclasses
import logging

import numpy as np

from tfrecord_tools import cli, errors, schema
from tfrecord_tools.io import atomic_write, csv_tables
from tfrecord_tools.splits import fold_audit, published_folds, stratified_group_folds

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldsConfig(cli.Config):
    """How to assign folds, or which folds to audit."""

    csv: str = cli.option(help="CSV file with image_name, patient_id and, to balance the prevalence, target.")
    output: str | None = cli.option(None, help="CSV file to write: image_name, fold (-1: in no fold).")
    num_folds: int | None = cli.option(None, lower=2, help="Number of folds; 5 if not given.")
    seed: int | None = cli.option(
        None, lower=0, help="Random seed; 0 if not given. Every seed gives equally good folds."
    )
    duplicates: str | None = cli.option(
        None, help="CSV file with image_name_1 and image_name_2: pairs that must share a fold."
    )
    preset: str | None = cli.option(
        None,
        choices=tuple(published_folds.PRESETS),
        help="Published folds, from the column tfrecord of Deotte's tables.",
    )
    audit: str | None = cli.option(
        None, help="CSV file with image_name and fold (a fold table or an index) to audit; exit code 1 if it leaks."
    )


def make_folds(config):
    """Writes a table's folds, or reads them from a file; prints what they hold and whether they leak.

    Args:
        config: `FoldsConfig`.

    Raises:
        IsicError: Arguments contradict each other; a table lacks a column, lists an image twice or holds a bad value;
            there are fewer patients than folds; or a preset or a file leaks.
    """
    num_folds = config.num_folds
    _refuse_contradictions(config.output, num_folds, config.seed, config.preset, config.audit)
    table = _read(config.csv, ("tfrecord",) if config.preset else ())
    pairs = csv_tables.read_pairs(config.duplicates) if config.duplicates else None
    if config.audit:
        table["fold"] = fold_audit.read(config.audit, table["image_name"])
    elif config.preset:
        table["fold"] = published_folds.preset_folds(table["tfrecord"], config.preset)
    else:
        groups = patients = table["patient"].to_numpy()
        if pairs is not None:
            groups = stratified_group_folds.join_duplicates(patients, table["image_name"], pairs)
            counts = patients.max() + 1, groups.max() + 1, np.bincount(groups).max()
            _LOG.info("duplicates join {} patients to {} groups, the largest of {} images".format(*counts))
        num_folds = 5 if num_folds is None else num_folds
        table["fold"] = stratified_group_folds.assign_folds(
            groups, table["target"], num_folds, config.seed or 0, patients if config.duplicates else None
        )
    by_fold, figures = fold_audit.audit(table, pairs)
    fold_audit.show(by_fold, figures)
    fold_audit.refuse_leaks(config.audit or config.preset or config.csv, figures)
    if config.output:
        atomic_write.write_text(config.output, table[["image_name", "fold"]].to_csv(index=False))


def _refuse_contradictions(output, num_folds, seed, preset, audit):
    if bool(output) == bool(audit):
        raise errors.IsicError(f"expected --output, to write folds, or --audit, got {'both' if audit else 'neither'}")
    if (audit or preset) and (num_folds, seed) != (None, None):
        raise errors.IsicError("--audit and --preset take folds as they are; leave out --num_folds and --seed")
    if audit and preset:
        raise errors.IsicError("expected --audit or --preset, got both; write the preset's folds first, and audit them")


def _read(csv, columns):
    """Reads a table with `patient` as a number and `target` as 1, 0 or -1, and says what it does not hold."""
    table = csv_tables.read_table(csv, ("image_name", "patient_id", *columns))
    csv_tables.refuse_repeats(csv, table, "list")
    table["patient"] = stratified_group_folds.group_codes(table["patient_id"])
    if blank := (table["patient_id"] == "").sum():
        _LOG.info(f"note: {blank} images have no patient_id; each is taken for a patient of its own")
    try:
        table["target"] = [schema.encode("target", value) for value in table.get("target", [""] * len(table))]
    except ValueError as error:
        raise errors.IsicError(f"{csv}: {error}") from error
    if unknown := (table["target"] < 0).sum():
        _LOG.info(f"note: {unknown} images have no target; they count as benign")
    return table
