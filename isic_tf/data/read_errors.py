"""Turns TensorFlow's read errors into errors that name the shard and the record."""

import contextlib
import re

import tensorflow as tf

from isic_tf.data import decoding
from tfrecord_tools import errors

STALE_LABEL = "index and record disagree on the target of"
STALE_NAME = "the shard holds another record where the index has"
READ_ERRORS = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, tf.errors.FailedPreconditionError)


def explain_read_error(files, error):
    """Finds what is wrong with the records that made a dataset fail.

    Args:
        files: Paths of the shards that were read.
        error: `tf.errors.OpError` that was raised.

    Returns:
        IsicError that names the shard and the record's position in it, or the image; `error` itself where the records
        are not to blame.
    """
    if stale := re.search(rf"({STALE_LABEL}|{STALE_NAME})\W+([^\]\"]+)", error.message):
        return errors.CorruptRecordError(f"{stale[1]} {stale[2]}; index the set again, or rebuild it")
    if "expected to contain" in error.message:
        return errors.CorruptRecordError(
            "the index lists more images than its shards hold; index the set again, or rebuild it"
        )
    of_records = isinstance(error, tf.errors.DataLossError) or re.search("(?i)jpe?g|feature|example", error.message)
    for file in files if of_records else ():
        position = 0
        try:
            for serialized in tf.data.TFRecordDataset(file):
                record = decoding.parse(serialized, labelled=False)
                tf.io.decode_jpeg(record["image"], channels=3, ratio=8)
                position += 1
        except tf.errors.OpError as found:
            reason = re.sub(r"\{\{.*?\}\} ?| ?\[Op:.*", "", found.message.split("\n")[0]).strip()
            return errors.CorruptRecordError(
                f"{file} is corrupt at record {position}: {reason}; make or fetch this shard again"
            )
    return error


@contextlib.contextmanager
def explained_read_errors(files):
    """Turns a failure of records that are read inside the block into the IsicError that `explain` gives."""
    try:
        yield
    except READ_ERRORS as error:
        explanation = explain_read_error(files, error)
        if explanation is error:
            raise
        raise explanation from error
