"""Options of the optimizer and the learning-rate schedule."""

import dataclasses

from isic_tf.optim import lr_schedules, optimizers
from tfrecord_tools import cli

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


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
        choices=optimizers.OPTIMIZERS,
        help="Optimizer. lamb, novograd, radam and ranger require tensorflow-addons (Python <= 3.11).",
    )
    learning_rate: float = cli.option(3e-4, lower=0.0, help="Peak learning rate.")
    schedule: str = cli.option("cosine", choices=lr_schedules.SCHEDULES, help="Learning-rate schedule after warm-up.")
    warmup_epochs: float = cli.option(1.0, lower=0.0, help="Epochs of linear learning-rate warm-up.")
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
