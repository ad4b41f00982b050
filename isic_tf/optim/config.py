"""Options of the optimizer and the learning-rate schedule."""

import dataclasses

from tfrecord_tools import cli

OPTIMIZERS = ("adamw", "adam", "sgd", "lamb", "novograd", "radam", "ranger")
SCHEDULES = ("cosine", "deotte", "constant")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def default_warmup(epochs: int, schedule: str = "cosine") -> float:
    """Returns the epochs of warm-up where none are given: one, but at most a tenth of the run.

    Args:
        epochs: Epochs of the run.
        schedule: One of `SCHEDULES`; `deotte` changes the rate only between epochs, so that its warm-up
            has complete epochs.

    Returns:
        0 to 1.

    Examples:
        >>> default_warmup(15), default_warmup(5), default_warmup(5, "deotte")
        (1.0, 0.5, 0.0)
    """
    fraction = min(1.0, epochs / 10)
    return float(int(fraction)) if schedule == "deotte" else fraction


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig(cli.Config):
    """Options of the optimizer and the learning-rate schedule.

    Examples:
        >>> OptimizerConfig(optimizer="sgd", learning_rate=0.1).schedule
        'cosine'
        >>> OptimizerConfig(optimizer="rmsprop")
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: expected optimizer to be one of adamw, adam, sgd, ..., got 'rmsprop'
    """

    epochs: int = cli.option(15, lower=1, help="Passes over the training images.")
    optimizer: str = cli.option(
        "adamw",
        choices=OPTIMIZERS,
        help="Optimizer. lamb, novograd, radam and ranger require tensorflow-addons (Python <= 3.11).",
    )
    learning_rate: float = cli.option(3e-4, lower=0.0, upper=1e30, help="Peak learning rate.")
    schedule: str = cli.option("cosine", choices=SCHEDULES, help="Learning-rate schedule after warm-up.")
    warmup_epochs: float = cli.option(
        None,
        lower=0.0,
        derive=lambda config: default_warmup(config.epochs, config.schedule),
        help="Epochs of linear learning-rate warm-up; where not given, 1 but at most a tenth of --epochs.",
    )
    hold_epochs: float = cli.option(0.0, lower=0.0, help="Epochs at the peak learning rate, for --schedule=deotte.")
    weight_decay: float = cli.option(
        0.01,
        lower=0.0,
        upper=1.0,
        help="Decoupled weight decay, multiplied by the learning rate; ignored by adam.",
    )
    precision: str = cli.option(
        "float32", choices=PRECISIONS, help="Keras mixed-precision policy. Variables and loss stay float32."
    )
