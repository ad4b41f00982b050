"""Checks submissions to the ISIC challenges with several classes."""

import logging
import re
from collections.abc import Sequence

import pandas as pd

from isic_tf.artifacts import submission_format, table_checks
from isic_tf.postprocessing import challenge_formats
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables
from tfrecord_tools.table_formats import raw_table

_LOG = logging.getLogger(__name__)

_EXTENSION = re.compile(r"\.(jpe?g|png|bmp|tiff?|webp|dcm)$", re.IGNORECASE)
_INTEGER = re.compile(r"[+-]?\d+")


def remove_extension(name: str) -> str:
    """Returns the name of an image as the challenges spell it, without the extension of a file.

    Examples:
        >>> remove_extension("ISIC_0000001_downsampled.jpg")
        'ISIC_0000001_downsampled'
    """
    return _EXTENSION.sub("", name)


def read_order(path: str, key: str) -> list[str]:
    """Reads which images or lesions a test set has.

    Args:
        path: CSV file with `image_name` or another known name of it, or with `lesion_id`.
        key: `image` or `lesion_id`.

    Returns:
        Names of images without an extension, or of lesions, each once, whatever the number of its images.

    Raises:
        IsicError: The file is not such a table, or repeats an image.
    """
    if key == "lesion_id":
        table = csv_tables.read_table(path, ("lesion_id",))
        return [name for name in dict.fromkeys(table["lesion_id"]) if name]
    names = submission_format.read_sample_names(path)
    return [remove_extension(name) for name in names]


def check_submission(
    path: str,
    wanted: challenge_formats.ChallengeFormat,
    order: Sequence[str] | None = None,
    content: bytes | None = None,
) -> pd.DataFrame:
    """Checks a submission to a challenge, and logs what is in it.

    Args:
        path: CSV file.
        wanted: The challenge's format.
        order: Images or lesions of the test set, in any order; None to check no names.
        content: What will be written to the file; None to read it.

    Returns:
        DataFrame of the names (text) and the classes (float64).

    Raises:
        IsicError: It has other columns, a number is not one from 0 to 1, or names are blank, repeated, missing or not
            of the test set. The message lists all problems.
    """
    raw = raw_table.read_raw(path) if content is None else raw_table.make_raw(path, content)
    expected = [wanted.key, *wanted.classes]
    missing = [name for name in expected if name not in raw.header]
    extra = [name for name in raw.header if name not in expected]
    if missing or extra or len(raw.header) != len(expected):
        found = [f"lacks {', '.join(missing)}"] if missing else []
        found += [f"has {', '.join(extra) or 'a column twice'} besides"] if not missing or extra else []
        raise errors.IsicError(
            f"{path}: expected the columns {', '.join(expected)} of {wanted.title}, but it {' and '.join(found)}; "
            "correct it, or write it from predictions with isic_tf.submission --predictions"
        )
    texts = pd.DataFrame(raw.read(expected), dtype=object)
    problems = _describe_values(texts, wanted)
    # The challenge's scorer takes off this extension, and no other.
    names = [re.sub(r"\.jpg$", "", name, flags=re.IGNORECASE) for name in texts[wanted.key]]
    problems += submission_format.compare_names(names, list(dict.fromkeys(names)) if order is None else order)
    if problems:
        raise errors.IsicError(
            f"{path} is no submission to {wanted.title}: {'; '.join(problems)}; correct it, or write it again from "
            "predictions with isic_tf.submission --predictions"
        )
    table = texts.astype(dict.fromkeys(wanted.classes, "float64"))
    _log_valid(path, table, wanted, order is not None)
    return table


def _describe_values(texts: pd.DataFrame, wanted: challenge_formats.ChallengeFormat) -> list[str]:
    """Describes what is wrong with the names and numbers of a submission: a text per kind of problem."""
    if texts.empty:
        return ["it has a header but no rows"]
    names: Sequence[str] = texts[wanted.key].tolist()
    problems = [f"{names.count('')} rows have no {wanted.key}"] if "" in names else []
    for column in wanted.classes:
        values = pd.to_numeric(texts[column], errors="coerce")
        problem = table_checks.describe_invalid_probabilities(values, names, f"numbers in {column}")
        if problem:
            problems.append(problem)
        elif texts[column].map(lambda text: bool(_INTEGER.fullmatch(text))).all():
            problems.append(
                f"{column} has no decimal point in any row, which the challenge's scorer refuses (write 0.0)"
            )
    return problems


def _log_valid(path: str, table: pd.DataFrame, wanted: challenge_formats.ChallengeFormat, is_complete: bool) -> None:
    kind = "lesions" if wanted.key == "lesion_id" else "images"
    numbers = table[wanted.classes].to_numpy()
    above = (numbers > challenge_formats.THRESHOLD).sum(axis=1)
    _LOG.info(
        f"{path}: valid for {wanted.title}, {len(table)} {kind}; {(above == 1).sum()} have one class above "
        f"{challenge_formats.THRESHOLD}, {(above > 1).sum()} several and {(above == 0).sum()} none, which count as "
        "of no class in the challenge's figures at that threshold"
    )
    if not is_complete:
        _LOG.warning(f"note: not compared with the {kind} of the test set; list them with --sample_submission")
