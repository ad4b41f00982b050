"""Verifies record sets: bytes, schema, images, counts, names and leaks."""

import dataclasses
import logging
from collections.abc import Sequence

import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import duplicate_pairs, output_lock, record_index
from tfrecord_tools.splits import leaks
from tfrecord_tools.verification import quarantine, set_overlaps, shard_checks, split_check
from tfrecord_tools.verification.config import VerifyConfig

_LOG = logging.getLogger(__name__)

_MAX_LOGGED = 100
# Number of problems that the error itself lists.
_MAX_IN_ERROR = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verification:
    """Result of verifying record sets; with problems, `verify_record_set` attaches it to the error that it raises.

    Attributes:
        records: DataFrame of `shard_checks.COLUMNS`, one row per record; `problem` is "" for the valid ones.
        warnings: What is unusual but not wrong, such as labels in a test split.
        problems: One text per kind of invalid record of a shard, and per problem of a record set or leak.

    Examples:
        >>> records = pd.DataFrame({"image_name": ["a", "b"], "problem": ["", ""]})
        >>> len(Verification(records=records, warnings=()).records)
        2
    """

    records: pd.DataFrame
    warnings: tuple[str, ...]
    problems: tuple[str, ...] = ()


@output_lock.locking("quarantine")
def verify_record_set(config: VerifyConfig) -> Verification:
    """Checks each shard by itself, then all shards together; logs all problems.

    Args:
        config: `VerifyConfig`. With `quarantine`, the valid records of damaged shards are copied to that directory.

    Returns:
        `Verification` of the valid records.

    Raises:
        ConfigError: `quarantine` holds files, or the shards to quarantine are in several directories.
        CorruptRecordError: Records are invalid, or shards do not match their manifest or index.
        LeakageError: Images, patients or listed duplicates are in two folds, or in training and test. This error and
            CorruptRecordError list the first problems; their attribute `verification` is the `Verification` with all.

    Examples:
        >>> result = verify_record_set(VerifyConfig(records="records/384/*.tfrec"))  # doctest: +SKIP
        >>> len(result.records)  # doctest: +SKIP
        33126
    """
    files = record_index.match_shards(config.records)
    pairs = duplicate_pairs.read_pairs(config.duplicates) if config.duplicates else None
    if config.quarantine:
        quarantine.check_quarantine(config.quarantine, files)
    checked = [
        split_check.check_split(found, config.decode, config.workers, config)
        for found in split_check.find_splits(files)
    ]
    warnings = [warning for one in checked for warning in one.list_warnings()]
    indexes = {one.directory: one.list_images() for one in checked if one.split == "train" and one.index is not None}
    warnings += set_overlaps.find_overlaps(indexes, pairs)
    problems = [problem for one in checked for problem in one.list_problems()]
    leaking = _find_leaks(checked, pairs)
    records = pd.concat([one.table for one in checked], ignore_index=True)
    invalid = records[records["problem"] != ""]
    kinds = _describe_invalid(invalid)
    _log_invalid(kinds)
    for warning in warnings:
        _LOG.warning(f"warning: {warning}")
    for line in [*problems, *leaking]:
        _LOG.info(line)
    _LOG.info(
        f"{len(records) - len(invalid)} valid records and {len(invalid)} invalid records in "
        f"{records['path'].nunique()} shards"
    )
    if pairs is not None:
        named = records.loc[records["image_name"] != "", "image_name"]
        duplicate_pairs.log_foreign_pairs(str(config.duplicates), pairs, named)
    if config.quarantine:
        for one in checked:
            quarantine.quarantine_split(one, config.quarantine)
    found = Verification(records=records, warnings=tuple(warnings), problems=(*kinds, *problems, *leaking))
    if found.problems:
        counts = f"{len(invalid)} invalid records and {len(problems) + len(leaking)} problems of record sets"
        kind = errors.CorruptRecordError if len(invalid) or problems else errors.LeakageError
        raise _make_error(kind, counts, found, config.quarantine)
    return found


def _make_error(kind: type[errors.IsicError], counts: str, found: Verification, kept: str | None) -> errors.IsicError:
    """Returns an error of one line that lists the first problems and holds all of them."""
    first = "; ".join(" ".join(problem.split()) for problem in found.problems[:_MAX_IN_ERROR])
    num_more = len(found.problems) - _MAX_IN_ERROR
    more = f"; and {num_more} more, see the log or the error's `verification.problems`" if num_more > 0 else ""
    remedy = "rebuild these shards, or keep the intact records with --quarantine"
    if kept:
        remedy = f"the intact records are in {kept}: use these, or rebuild the shards"
    damage = found.records.loc[found.records["problem"] != "", "problem"]
    if damage.str.startswith("the file is compressed").all():
        remedy = "then verify the set again"
    if damage.empty:
        remedy = "restore the files that differ, or write manifest and index again with tfrecord_tools.index"
    if kind is errors.LeakageError:
        remedy = "make new folds with tfrecord_tools.folds, and build the record sets with them"
    error = kind(f"{counts}: {first}{more}; {remedy}")
    error.verification = found
    return error


def _find_leaks(checked: Sequence[split_check.CheckedSplit], pairs: pd.DataFrame | None) -> list[str]:
    """Checks names between training and test, and the folds of each training split, together with all test splits."""
    names: dict[str, set[str]] = {"train": set(), "test": set()}
    for one in checked:
        names[one.split] |= set(one.table["image_name"]) - {""}
    found = []
    both = sorted(names["train"] & names["test"])
    if both:
        found.append(f"{len(both)} images are in training and test (for example {both[0]})")
    records = pd.concat([one.table.assign(split=one.split) for one in checked], ignore_index=True)
    records = records[records["problem"] == ""]
    copies = leaks.find_split(records[["image_name", "image_digest"]], records["split"])["photographs"]
    if copies:
        found.append(f"{len(copies)} photographs under two names are in training and test (for example {copies[0]})")
    test_indexes = [one.list_images().assign(fold=shard_checks.TEST_FOLD) for one in checked if one.split == "test"]
    for one in checked:
        if one.split == "train":
            index = pd.concat([one.list_images(), *test_indexes], ignore_index=True).fillna("")
            found += [f"{one.directory}: {leak}" for leak in shard_checks.check_leaks(index, pairs)]
    return found


def _describe_invalid(invalid: pd.DataFrame) -> list[str]:
    """Describes each kind of problem of each shard with its first record."""
    kinds = []
    for _, part in invalid.groupby(["path", "problem"], sort=False):
        first = part.iloc[0]
        more = f" and {len(part) - 1} more" if len(part) > 1 else ""
        place = f"record {first['position']} (byte {first['offset']}) {first['image_name']}".rstrip()
        kinds.append(f"{first['path']}: {place}{more}: {first['problem']}")
    return kinds


def _log_invalid(kinds: Sequence[str]) -> None:
    for line in kinds[:_MAX_LOGGED]:
        _LOG.info(line)
    if len(kinds) > _MAX_LOGGED:
        _LOG.info(f"... and {len(kinds) - _MAX_LOGGED} more; --quarantine lists all of them")
