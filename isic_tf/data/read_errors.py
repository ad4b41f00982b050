"""Turns TensorFlow's read errors into errors that name the shard and the record."""

import contextlib
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from isic_tf.data import decoding
from tfrecord_tools import errors
from tfrecord_tools.io import tfrecord

STALE_LABEL = "index and record disagree on the target of"
STALE_NAME = "the shard holds another record where the index has"
READ_ERRORS = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)


def explain_read_error(files: Sequence[str], error: tf.errors.OpError) -> Exception:
    """Finds out which record made a dataset fail.

    Args:
        files: Paths of the shards that were read.
        error: The error that was raised.

    Returns:
        CorruptRecordError that names the shard and the position of the record, or the image; `error` itself if all
        records are intact.
    """
    stale = re.search(rf"({STALE_LABEL}|{STALE_NAME})\W+([^\]\"]+)", error.message)
    if stale:
        return errors.CorruptRecordError(f"{stale[1]} {stale[2]}; index the set again, or rebuild it")
    if "expected to contain" in error.message:
        return errors.CorruptRecordError(
            "the index lists more images than its shards hold; index the set again, or rebuild it"
        )
    about_images = "(?i)jpe?g|png|decode|feature|example"
    if not isinstance(error, tf.errors.DataLossError) and not re.search(about_images, error.message):
        return error
    for file in files:
        problem = _find_problem(file)
        if problem:
            position, reason = problem
            return errors.CorruptRecordError(
                f"{file} is corrupt at record {position}: {reason}; rebuild or download this shard again"
            )
    return error


def _find_problem(file: str) -> tuple[int, str] | None:
    """Reads a shard until a record fails; returns its position and the reason, or None."""
    for position, (_, data, damage) in enumerate(tfrecord.scan(file)):
        if data is None:
            return position, damage
        name, problem = decoding.examine(data)
        if problem:
            return position, f"{name}: {problem}" if name else problem
    return None


@contextlib.contextmanager
def explained_read_errors(files: Sequence[str]) -> Iterator[None]:
    """Replaces read errors that are raised inside the block by errors that name the shard and the record.

    Args:
        files: Paths of the shards that are read inside the block.

    Raises:
        CorruptRecordError: A record is corrupt, or is not the one that the index lists; see `explain_read_error`.
    """
    try:
        yield
    except READ_ERRORS as error:
        explanation = explain_read_error(files, error)
        if explanation is error:
            raise
        raise explanation from error
