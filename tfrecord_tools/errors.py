"""Errors that both packages raise for what a user can put right: what was expected, what was received, what to do."""


class IsicError(ValueError):
    """Base of all errors of `isic_tf` and `tfrecord_tools`; a `ValueError`.

    Example:
        >>> try:
        ...     raise ConfigError("expected --epochs above 0, got 0")
        ... except IsicError as error:
        ...     print(error)
        expected --epochs above 0, got 0
    """


class ConfigError(IsicError):
    """Options contradict each other, or do not fit the data, the machine or the run directory."""


class LeakageError(IsicError):
    """A patient, an image or its duplicate would be in training and held out at once."""


class CorruptRecordError(IsicError):
    """A record, a shard, an image or a saved file is damaged."""


class DivergenceError(IsicError):
    """Training diverged: the loss or a gradient is not finite, or far above where it started."""
