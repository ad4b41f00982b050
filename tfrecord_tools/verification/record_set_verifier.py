"""Verifies record sets: bytes, schema, images, counts, names and leaks."""

import concurrent.futures
import dataclasses
import logging
import os
import re

import pandas as pd
from tqdm import tqdm

from tfrecord_tools import cli, errors, schema
from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.io import atomic_write, csv_tables, filesystem, manifest, record_index, tfrecord
from tfrecord_tools.verification import shard_checks

_LOG = logging.getLogger(__name__)

_SHOWN = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyConfig(cli.Config):
    """Which record sets to verify."""

    records: str = cli.option(help="Glob pattern of the shards, in quotes, of one record set or several.")
    duplicates: str | None = cli.option(
        None, help="CSV file with image_name_1 and image_name_2: pairs that must share a fold."
    )
    decode: bool = cli.option(True, help="Decode the images too; without, verification runs at reading speed.")
    quarantine: str | None = cli.option(
        None, help="New directory for the intact records, and a list of the damaged ones."
    )
    workers: int = cli.option(os.cpu_count() or 1, lower=1, help="Number of shards verified in parallel.")


def verify_record_set(config):
    """Checks every shard by itself, then what must hold between them; prints all that is wrong.

    Args:
        config: `VerifyConfig`.

    Raises:
        IsicError: Something is wrong, or `quarantine` holds files.
    """
    files = record_index.match_shards(config.records)
    pairs = csv_tables.read_pairs(config.duplicates) if config.duplicates else None
    if config.quarantine:
        _refuse_quarantine(config.quarantine, files)
    sets = _read_sets(files)
    problems, warnings = [], []
    for (folder, split), found in sets.items():
        _examine(found, split, config.decode, config.workers)
        labelled = (found["table"]["target"] >= 0).sum()
        if split == "test" and labelled:
            warnings.append(f"{folder}: {labelled} test records carry labels; training and prediction never read them")
        if found["manifest"] is None or found["index"] is None:
            warnings.append(f"{folder}: no manifest and index of {split}, so counts and folds are not checked; "
                            "tfrecord_tools.index makes them")  # fmt: skip
        problems += [f"{folder}: {problem}" for problem in _check_set(folder, found)]
    problems += _check_between(sets, pairs)
    rows = pd.concat([found["table"] for found in sets.values()], ignore_index=True)
    bad = rows[rows["problem"] != ""]
    _report(rows, bad, problems, warnings)
    if config.quarantine:
        for (folder, split), found in sets.items():
            _quarantine(folder, split, found, config.quarantine)
    if len(bad) or problems:
        raise errors.IsicError(f"{len(bad)} bad records and {len(problems)} problems of sets, listed above")


def _read_sets(files):
    """Groups shards by folder and split, with the manifest and index of each."""
    sets = {}
    for file in files:
        key = os.path.dirname(file) or ".", tfrecord.split_of(file)
        sets.setdefault(key, {"files": []})["files"].append(file)
    for (folder, split), found in sets.items():
        path = os.path.join(folder, f"{split}.index.csv")
        found["manifest"] = manifest.read_manifest(folder, split)
        found["index"] = csv_tables.read_table(path, schema.INDEX_COLUMNS) if filesystem.exists(path) else None
    return sets


def _examine(found, split, decode, workers):
    """Reads all shards of a split; a name's second record is bad."""
    image_size = (found["manifest"] or {}).get("image_size")
    with concurrent.futures.ThreadPoolExecutor(workers) as executor:
        results = executor.map(lambda path: shard_checks.examine_shard(path, image_size, decode), found["files"])
        results = list(tqdm(results, split, len(found["files"]), unit="shard", disable=None))
    table = pd.concat([rows for rows, _ in results], ignore_index=True)
    again = (table["problem"] == "") & table["image_name"].where(table["problem"] == "").duplicated()
    table.loc[again, "problem"] = "an earlier record has the same name"
    found["table"] = table
    found["described"] = dict(zip(found["files"], [facts for _, facts in results], strict=True))


def _check_set(folder, found):
    problems = []
    if found["manifest"] is not None:
        problems += shard_checks.check_counts(folder, found["manifest"], found["described"], found["table"])
    if found["index"] is not None:
        problems += shard_checks.check_index(found["index"], found["table"])
    return problems


def _check_between(sets, pairs):
    """Checks names between training and test, and folds within each folder."""
    names = {"train": set(), "test": set()}
    for (_, split), found in sets.items():
        names[split] |= set(found["table"]["image_name"]) - {""}
    both = sorted(names["train"] & names["test"])
    problems = [f"{len(both)} images are in training and test, {both[0]} first"] if both else []
    tests = [found["index"].assign(fold="test") for (_, split), found in sets.items() if split == "test"
             and found["index"] is not None]  # fmt: skip
    for (folder, split), found in sets.items():
        if split == "train" and found["index"] is not None:
            leaks = shard_checks.check_leaks(pd.concat([found["index"], *tests], ignore_index=True), pairs)
            problems += [f"{folder}: {leak}" for leak in leaks]
    return problems


def _report(rows, bad, problems, warnings):
    kinds = [part for _, part in bad.groupby(["path", "problem"], sort=False)]
    for part in kinds[:_SHOWN]:
        first = part.iloc[0]
        more = f" and {len(part) - 1} more" if len(part) > 1 else ""
        place = f"record {first['position']} (byte {first['offset']}) {first['image_name']}".rstrip()
        _LOG.info(f"{first['path']}: {place}{more}: {first['problem']}")
    if len(kinds) > _SHOWN:
        _LOG.info(f"... and {len(kinds) - _SHOWN} more; --quarantine lists them all")
    for line in [f"warning: {warning}" for warning in warnings] + problems:
        _LOG.info(line)
    _LOG.info(f"{len(rows) - len(bad)} good records and {len(bad)} bad ones in {rows['path'].nunique()} shards")


def _refuse_quarantine(quarantine, files):
    if filesystem.listdir(quarantine):
        raise errors.IsicError(f"--quarantine needs a new or empty folder, {quarantine} holds files")
    folders = sorted({os.path.dirname(file) for file in files})
    if len(folders) > 1:
        raise errors.IsicError(f"--quarantine takes the shards of one folder at a time, got {', '.join(folders)}")


def _quarantine(folder, split, found, quarantine):
    """Rewrites the good records of a split under its shards' names, and lists the bad ones."""
    table, written = found["table"], []
    for path, part in table.groupby("path", sort=False):
        good = set(part.loc[part["problem"] == "", "position"])
        if not good:
            continue
        # A count in a name, as Kaggle's, is kept true.
        name = re.sub(r"-\d+(\.\w+)$", rf"-{len(good)}\1", os.path.basename(path))
        with (
            atomic_write.replaced(os.path.join(quarantine, name)) as temporary,
            filesystem.open(temporary, "wb") as file,
        ):
            for position, (_, data, _) in enumerate(tfrecord.scan(path)):
                if position in good:
                    tfrecord.write(file, data)
        written.append(os.path.join(quarantine, name))
    bad = table.loc[table["problem"] != "", ["path", "position", "offset", "image_name", "problem"]]
    bad = bad.assign(shard=bad["path"].map(os.path.basename)).drop(columns="path")
    atomic_write.write_text(os.path.join(quarantine, f"{split}.bad.csv"), bad.to_csv(index=False))
    if written:
        if found["manifest"] is not None:
            facts = {k: v for k, v in found["manifest"].items() if k not in manifest.COMPUTED}
            manifest.write_manifest(quarantine, split, [], **facts)
        listed = os.path.join(folder, f"{split}.index.csv") if found["index"] is not None else None
        record_set_indexer.index_record_set(",".join(written), listed, listed if split == "train" else None, None)
