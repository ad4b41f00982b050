"""Checks a submission against the sample submission, and orders predictions like it."""

import dataclasses
import logging
from collections.abc import Sequence

import pandas as pd

from isic_tf.artifacts import table_checks
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmissionConfig(cli.Config):
    """Options for checking a submission.

    Examples:
        >>> SubmissionConfig(submission="own.csv", sample_submission="sample_submission.csv").submission
        'own.csv'
    """

    submission: str = cli.option(path="read", help="CSV file to check: image_name, target.")
    sample_submission: str = cli.option(path="read", help="The competition's sample submission: names and their order.")


def validate_submission(config: SubmissionConfig) -> pd.DataFrame:
    """Checks that a submission has the names and order of the sample submission, and targets from 0 to 1.

    Args:
        config: The submission and the sample submission.

    Returns:
        The submission: DataFrame of `image_name` (text) and `target` (float64, from 0 to 1).

    Raises:
        IsicError: Names are missing, extra, repeated or in another order, or a target is not a number from 0 to 1. The
            message lists all of these problems.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = os.path.join(directory, "submission.csv")
        ...     pd.DataFrame({"image_name": ["a", "b"], "target": [0.1, 0.9]}).to_csv(path, index=False)
        ...     table = validate_submission(SubmissionConfig(submission=path, sample_submission=path))
        >>> table["target"].tolist()
        [0.1, 0.9]
    """
    table = csv_tables.read_table(config.submission, ("image_name", "target"))
    names = table["image_name"].tolist()
    targets = pd.to_numeric(table["target"], errors="coerce")
    order = read_sample_names(config.sample_submission)
    problems = compare_names(names, order)
    invalid = table_checks.describe_invalid_probabilities(targets, names, "targets")
    if invalid:
        problems.append(invalid)
    if not problems and names != order:
        row = next(row for row, pair in enumerate(zip(names, order, strict=True)) if pair[0] != pair[1])
        problems.append(f"the order differs: row {row + 1} is {names[row]} instead of {order[row]}")
    if problems:
        raise errors.IsicError(
            f"{config.submission} does not match {config.sample_submission}: {'; '.join(problems)}; write it again "
            "with --sample_submission, from predictions of the same images"
        )
    note = "; note: all targets are the same" if targets.nunique() == 1 else ""
    _LOG.info(
        f"{config.submission}: valid, {len(names)} images in the order of the sample; targets {targets.min():.4f} to "
        f"{targets.max():.4f}, mean {targets.mean():.4f}{note}"
    )
    return pd.DataFrame({"image_name": table["image_name"], "target": targets.astype("float64")})


def match_sample(names: Sequence[str], sample_submission: str, flags: str = "--predictions") -> list[str]:
    """Checks that names are those of a sample submission.

    Args:
        names: Names of images, in any order.
        sample_submission: CSV file with `image_name`.
        flags: The flags that the images come from, for errors.

    Returns:
        The names in the order of the sample submission.

    Raises:
        IsicError: Names are missing, extra or repeated.
    """
    order = read_sample_names(sample_submission)
    problems = compare_names(names, order)
    if problems:
        raise errors.IsicError(
            f"the set of images does not match {sample_submission}: {'; '.join(problems)}; check {flags}"
        )
    return order


def read_sample_names(path: str) -> list[str]:
    """Reads the names of a sample submission in their order.

    Args:
        path: CSV file with `image_name`.

    Returns:
        List of names.

    Raises:
        IsicError: The file is not such a table, or a name is repeated.
    """
    table = csv_tables.read_table(path, ("image_name",))
    csv_tables.refuse_repeats(path, table, "name")
    return table["image_name"].tolist()


def compare_names(names: Sequence[str], order: Sequence[str]) -> list[str]:
    """Describes how names differ from those of a sample.

    Args:
        names: Names of images, in any order.
        order: Names of the sample.

    Returns:
        A text per kind of difference; an empty list where there is none but the order.
    """
    column = pd.Series(names, dtype=object)
    existing = set(names)
    wanted = set(order)
    differences = {
        "names are repeated": column[column.duplicated()].unique().tolist(),
        "names of the sample are missing": [name for name in order if name not in existing],
        "names are not in the sample": [name for name in dict.fromkeys(names) if name not in wanted],
    }
    return [f"{len(found)} {kind} ({table_checks.list_first(found)})" for kind, found in differences.items() if found]
