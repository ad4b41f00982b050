"""Options of evaluation, and the checks that functions without a config share with it."""

import dataclasses
from collections.abc import Sequence

from isic_tf.artifacts import run_directory
from isic_tf.postprocessing import lesion_join
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables, record_index

# Of the operating point, where no other is asked for.
SENSITIVITY = 0.9
LESION = "lesion"
UNITS = ("image", LESION)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(cli.Config):
    """Options of `evaluate`: the prediction files, and the files to write.

    Examples:
        >>> config = EvaluateConfig(predictions="runs/b0/oof.csv", labels="train.csv")
        >>> config.predictions
        ('runs/b0/oof.csv',)
    """

    predictions: tuple[str, ...] = cli.option(
        path="read",
        help="CSV files with image_name and prediction (and probability_CLASS for several classes), or submissions, "
        "separated by commas; the first is compared with each of the others.",
    )
    labels: str = cli.option(
        path="read",
        help="CSV file with image_name, patient_id and target, and optionally fold, source, sex, age_approx, "
        "anatom_site_general_challenge, diagnosis, width, height, bytes, and columns for --target and --groups; or "
        "tables of a published data set, separated by commas.",
    )
    records: str | None = cli.option(
        None,
        path="read",
        help="Glob pattern of shards, in quotes: they provide image sizes, file sizes, and the images of the report.",
    )
    report: str | None = cli.option(
        None, path="write", help="HTML report to write: metrics, curves and, with --records, the worst errors."
    )
    workdir: str | None = cli.option(
        None,
        path="read",
        files=run_directory.OWN_FILES,
        help="With --report: run directory whose training is shown, and whose networks explain the worst errors "
        "(Grad-CAM).",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="With --workdir and --records: CSV file with image_name and the numeric columns that the run was trained "
        "with (--metadata).",
    )
    output: str | None = cli.option(None, path="write", help="JSON file to write all metrics to.")
    threshold: float | None = cli.option(
        None, lower=0.0, upper=1.0, help="Operating point: predictions from this value on are called malignant."
    )
    specificity: float | None = cli.option(
        None,
        lower=0.0,
        upper=1.0,
        help=f"Choose the threshold with this specificity (0 to 1) instead of that with {SENSITIVITY} sensitivity.",
    )
    allow_missing: bool = cli.option(
        False, help="Leave out images that have a label but no prediction, or a prediction but no label."
    )
    target: str | None = cli.option(
        None,
        help="Where the labels have the true classes, for predictions of several classes: column:NAME for a column of "
        "classes, columns:A,B for columns of 0 and 1. Without it, columns named like the classes.",
    )
    positive_classes: tuple[str, ...] = cli.option(
        (),
        help="Classes that the single prediction is of, separated by commas; only needed where the prediction file "
        "does not say it.",
    )
    groups: tuple[str, ...] = cli.option(
        (),
        help="Columns of the labels, separated by commas, whose values are groups to evaluate and compare, such as "
        "skin_tone_class,clinic.",
    )
    unit: str = cli.option(
        "image",
        choices=UNITS,
        help="What to evaluate: each image, or each lesion (lesion_id), the predictions of whose images are joined.",
    )
    join: str = cli.option(
        "mean", choices=lesion_join.JOINS, help="With --unit=lesion: how to join the predictions of a lesion's images."
    )

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: They do not.
        """
        super().__post_init__()
        check_options(self.predictions, self.threshold, self.specificity)
        check_unit(self.unit, self.join)
        if self.workdir and not self.report:
            raise errors.ConfigError("--workdir is shown in the report only; add --report, or remove --workdir")
        if self.table and not (self.workdir and self.records):
            raise errors.ConfigError(
                "expected --table only with --workdir and --records, for the networks that explain images; leave it out"
            )

    def check_inputs(self) -> None:
        """Checks that the tables and the shards exist; see `Config.check_inputs`."""
        super().check_inputs()
        csv_tables.check_paths(*self.predictions, self.labels)
        if self.records:
            record_index.match_shards(self.records)


def check_options(predictions: Sequence[str], threshold: float | None, specificity: float | None) -> None:
    """Checks that the options of an evaluation fit together; see `evaluate`.

    Raises:
        ConfigError: There are no predictions, both a threshold and a specificity, or one that is not from 0 to 1.
    """
    if not predictions:
        raise errors.ConfigError("expected one or more prediction files (--predictions), got none")
    if threshold is not None and specificity is not None:
        raise errors.ConfigError("threshold and specificity are mutually exclusive, got both; give one")
    for name, value in (("threshold", threshold), ("specificity", specificity)):
        if value is not None and not 0 <= value <= 1:
            raise errors.ConfigError(f"expected a {name} from 0 to 1, got {value}; give 95 % as 0.95")


def check_unit(unit: str, join: str) -> None:
    """Checks the options that say what is evaluated; see `evaluate_predictions.evaluate`.

    Raises:
        ConfigError: The unit or the way to join is not one of the choices, or images are not to be joined.
    """
    if unit not in UNITS:
        raise errors.ConfigError(f"expected unit to be one of {', '.join(UNITS)}, got {unit!r}")
    if join not in lesion_join.JOINS:
        raise errors.ConfigError(f"expected join to be one of {', '.join(lesion_join.JOINS)}, got {join!r}")
    if unit != LESION and join != lesion_join.JOINS[0]:
        raise errors.ConfigError(f"expected join={join} with unit=lesion, got unit={unit}; add --unit=lesion")
