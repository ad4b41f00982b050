"""Turns TensorFlow's read errors into errors that name the shard and the record."""

import contextlib
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from isic_tf.data import decoding
from tfrecord_tools import errors

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
    about_records = isinstance(error, tf.errors.DataLossError) or re.search("(?i)jpe?g|feature|example", error.message)
    if not about_records:
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
    position = 0
    try:
        for serialized in decoding.read(file):
            record = decoding.parse(serialized, labeled=False)
            tf.io.decode_jpeg(record["image"], channels=3, ratio=8)
            position += 1
    except tf.errors.OpError as found:
        first_line = found.message.split("\n")[0]
        # Without the names of TensorFlow's nodes and operations.
        reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", first_line).strip()
        return position, reason
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
