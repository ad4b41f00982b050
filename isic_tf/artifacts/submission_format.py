"""Checks a submission against the sample submission, and orders predictions like it."""

import dataclasses
import logging

import pandas as pd

from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)

_SHOWN = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class SubmissionConfig(cli.Config):
    """Which submission to check."""

    submission: str = cli.option(help="CSV file to check: image_name, target.")
    sample_submission: str = cli.option(help="The competition's sample submission: names and their order.")


def validate_submission(config):
    """Says that a submission is as the sample wants it, or raises what is not.

    Args:
        config: `SubmissionConfig`.

    Raises:
        IsicError: Names are missing, extra, doubled or in another order; a target is no number from 0 to 1.
    """
    table = csv_tables.read_table(config.submission, ("image_name", "target"))
    names, order = table["image_name"].tolist(), read_order(config.sample_submission)
    values = pd.to_numeric(table["target"], errors="coerce")
    problems = find_problems(names, order)
    bad = table.loc[~values.between(0, 1), "image_name"].tolist()
    if bad:
        problems.append(f"{len(bad)} targets are no number from 0 to 1 ({_first(bad)})")
    if not problems and names != order:
        row = next(row for row, pair in enumerate(zip(names, order, strict=True)) if pair[0] != pair[1])
        problems.append(f"another order: row {row + 1} is {names[row]} in place of {order[row]}")
    if problems:
        raise errors.IsicError(
            f"{config.submission} is no submission for {config.sample_submission}: {'; '.join(problems)}"
        )
    alike = "; note: all of them are the same" if values.nunique() == 1 else ""
    spread = f"{values.min():.4f} to {values.max():.4f}, mean {values.mean():.4f}"
    _LOG.info(f"{config.submission}: {len(names)} images, those of the sample in its order; targets {spread}{alike}")


def read_order(path):
    """Reads a sample's names in its order.

    Args:
        path: CSV file with `image_name`.

    Raises:
        IsicError: The file is no such table, or names an image twice.
    """
    table = csv_tables.read_table(path, ("image_name",))
    csv_tables.refuse_repeats(path, table, "name")
    return table["image_name"].tolist()


def find_problems(names, order):
    """Lists how names differ from a sample's: text for each kind of difference, with its count and first cases."""
    there, wanted, column = set(names), set(order), pd.Series(names, dtype=object)
    kinds = {
        "names come more than once": column[column.duplicated()].unique().tolist(),
        "of the sample's names are missing": [name for name in order if name not in there],
        "names are not in the sample": [name for name in dict.fromkeys(names) if name not in wanted],
    }
    return [f"{len(found)} {kind} ({_first(found)})" for kind, found in kinds.items() if found]


def _first(names):
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def match_sample(names, sample_submission):
    """Gives the sample's order, or raises a ValueError where the names are others."""
    order = read_order(sample_submission)
    problems = find_problems(names, order)
    if problems:
        raise errors.IsicError(
            f"the images of --predictions are not those of {sample_submission}: {'; '.join(problems)}"
        )
    return order
