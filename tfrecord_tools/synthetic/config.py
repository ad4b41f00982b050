"""Options of `make_dataset`."""

import dataclasses

from tfrecord_tools import cli

# Prevalence of the competition's train.csv.
MALIGNANT_RATE = 0.0176


@dataclasses.dataclass(frozen=True, kw_only=True)
class SynthConfig(cli.Config):
    """Size and seed of a synthetic data set.

    Examples:
        >>> SynthConfig(output="synthetic", num_patients=20, malignant_rate=0.2).seed
        0
    """

    output: str = cli.option(path="directory", help="Directory to write.")
    num_patients: int = cli.option(60, lower=1, help="Training patients, 16 images each on average.")
    malignant_rate: float = cli.option(
        MALIGNANT_RATE, lower=0.001, upper=0.999, help="Prevalence: fraction of malignant images."
    )
    seed: int = cli.option(0, lower=0, help="Random seed; the same seed gives the same bytes.")
