"""Options of everything that runs on devices."""

import dataclasses

from tfrecord_tools import cli

STRATEGIES = ("auto", "default", "mirrored", "tpu", "multiworker")


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategyConfig(cli.Config):
    """Options of the devices to use.

    Examples:
        >>> StrategyConfig(strategy="mirrored")
        StrategyConfig(strategy='mirrored', tpu='')
    """

    strategy: str = cli.option(
        "auto", choices=STRATEGIES, help="Distribution strategy; auto uses the best devices that this machine has."
    )
    tpu: str = cli.option("", help="Name or address of a remote TPU, or 'local' for this machine's own.")
