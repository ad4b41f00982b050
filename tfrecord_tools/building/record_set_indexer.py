"""Writes the manifest and index of record sets that others made."""

import dataclasses
import logging
import os

import pandas as pd

from tfrecord_tools import cli, errors, schema
from tfrecord_tools.building import data_sources, shard_assignment
from tfrecord_tools.io import csv_tables, filesystem, manifest, record_index, tfrecord
from tfrecord_tools.splits import stratified_group_folds

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexConfig(cli.Config):
    """Which shards to index."""

    records: str = cli.option(
        help="Glob pattern of the shards, in quotes, all in one directory; files named test... are the test split."
    )
    csv: str | None = cli.option(None, help="CSV file with image_name, patient_id and target, joined by name.")
    folds: str | None = cli.option(None, help="CSV file with image_name and fold, as written by tfrecord_tools.folds.")
    output: str | None = cli.option(
        None, help="Directory for manifest, index and links to the shards, if their own directory is read-only."
    )


def index_record_set(config):
    """Writes manifest and index of each split that the shards' names tell.

    Args:
        config: `IndexConfig`.

    Raises:
        IsicError: A shard is damaged or of another schema, names come twice, the table contradicts a record, or the
            folds do not fit.
    """
    splits = {}
    for file in record_index.match_shards(config.records):
        splits.setdefault(tfrecord.split_of(file), []).append(file)
    table = csv_tables.read_table(config.csv, ("image_name",)) if config.csv else None
    if config.csv:
        csv_tables.refuse_repeats(config.csv, table, "list")
    fold_table = csv_tables.read_table(config.folds, ("image_name", "fold")) if config.folds else None
    for split, files in splits.items():
        _index_split(split, files, table, fold_table if split == "train" else None, config.output)


def _index_split(split, files, table, fold_table, output):
    folders = sorted({os.path.dirname(file) for file in files})
    if len(folders) > 1:
        raise errors.IsicError(f"expected the shards of one set in one folder, got {', '.join(folders)}; index each")
    rows, entries = data_sources.find_records(files, split)
    if table is not None:
        rows = _join(rows, table, split)
    rows["fold"] = ""
    if fold_table is not None:
        groups = stratified_group_folds.group_codes(rows["patient_id"])
        rows["fold"] = pd.Series(shard_assignment.given_folds(rows, groups, fold_table)).astype(object).replace(-1, "")
    rows["shard"] = rows["path"].map(os.path.basename)
    rows["position"] = rows.groupby("shard").cumcount()
    if output:
        _link(files, output)
    place = output or folders[0]
    # What a build wrote of its options stays true.
    facts = manifest.read_manifest(folders[0], split) or {"source": {"files": ["tfrec"]}}
    facts |= {"image_size": _common_side(rows["size"])}
    manifest.write_manifest(place, split, entries, **{k: v for k, v in facts.items() if k not in manifest.COMPUTED})
    manifest.write_index(place, split, rows)
    known = ", ".join(f"{(rows[column] != '').sum()} with {column}" for column in ("patient_id", "target", "fold"))
    _LOG.info(f"{split}: {len(rows)} records in {len(entries)} shards in {place or '.'}: {known}")


def _join(rows, table, split):
    """Takes patients from the table, and targets where records have none; says what is in one and not the other."""
    listed = table.set_index("image_name").reindex(rows["image_name"])
    missing = rows.loc[~rows["image_name"].isin(table["image_name"]), "image_name"].tolist()
    if missing:
        _LOG.info(f"{split}: {len(missing)} records are not in the table: {csv_tables.describe_first_cases(missing)}")
    absent = table.loc[~table["image_name"].isin(rows["image_name"]), "image_name"].tolist()
    if absent:
        _LOG.info(
            f"{split}: {len(absent)} images of the table have no record: {csv_tables.describe_first_cases(absent)}"
        )
    if "patient_id" in table:
        rows["patient_id"] = listed["patient_id"].set_axis(rows.index).fillna(rows["patient_id"])
    if split == "train" and "target" in table:
        _compare_targets(rows, listed["target"].fillna(""))
    return rows


def _compare_targets(rows, listed):
    coded = pd.Series([schema.encode("target", value) for value in listed], index=rows.index)
    own = pd.to_numeric(rows["target"].replace("", str(schema.UNKNOWN)))
    differ = rows.loc[(coded >= 0) & (own >= 0) & (coded != own), "image_name"].tolist()
    if differ:
        raise errors.IsicError(
            f"{len(differ)} records have another target than the table: {csv_tables.describe_first_cases(differ)}; find out which "
            "is right, and build the set again from it"
        )
    lacking = ((own < 0) & (coded >= 0)).sum()
    if lacking:
        _LOG.info(f"note: {lacking} records carry no target, so training cannot use them: tfrecord_tools.build --records "
              "--csv writes the table's into them")  # fmt: skip


def _common_side(sizes):
    """Gives the side of the images where all are squares of one size, else None."""
    sides = {size[0] if size and size[0] == size[1] else None for size in sizes}
    return sides.pop() if len(sides) == 1 else None


def _link(files, output):
    filesystem.makedirs(output)
    for file in files:
        link = os.path.join(output, os.path.basename(file))
        if os.path.lexists(link):
            if os.path.realpath(link) != os.path.realpath(file):
                raise errors.IsicError(f"{link} is there already and is not {file}; choose another --output")
        elif os.path.exists(file):
            os.symlink(os.path.abspath(file), link)
        else:
            raise errors.IsicError(f"--output links shards of this machine's disks only, got {file}; copy it first")
