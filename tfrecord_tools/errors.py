"""Errors that both packages raise for problems a user can solve.

Every message states what was expected, what was received, and what to do.
"""

from typing import Any


class IsicError(ValueError):
    """Base of all errors of `isic_tf` and `tfrecord_tools`; a `ValueError`.

    Examples:
        >>> try:
        ...     raise ConfigError("expected --epochs above 0, got 0")
        ... except IsicError as error:
        ...     print(error)
        expected --epochs above 0, got 0

    Attributes:
        verification: `tfrecord_tools.verification.Verification` with all problems, where `verify_record_set` raised
            the error; else None.
    """

    verification: Any = None


class ConfigError(IsicError):
    """Options contradict each other, or do not fit the data, the machine or the run directory."""


class LeakageError(IsicError):
    """A patient, an image or a duplicate of it would be both in the training data and held out."""


class CorruptRecordError(IsicError):
    """A record, a shard, an image or a saved file is damaged."""


class DivergenceError(IsicError):
    """Training diverged: the loss or a gradient is not finite, or far above where it started."""
