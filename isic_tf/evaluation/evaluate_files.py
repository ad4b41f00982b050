"""Evaluates prediction files as the command does: logs the text report, writes the figures and the HTML report."""

import dataclasses
import json
import logging

from isic_tf.evaluation import compared_files, evaluate_predictions, evaluator, units
from isic_tf.postprocessing import lesion_join
from tfrecord_tools import cli, errors
from tfrecord_tools.io import atomic_write, filesystem, output_lock

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(cli.Config):
    """Options of `evaluate`: the prediction files, and the files to write.

    Examples:
        >>> config = EvaluateConfig(predictions="runs/b0/oof.csv", labels="train.csv")
        >>> config.predictions
        ('runs/b0/oof.csv',)
    """

    predictions: tuple[str, ...] = cli.option(
        help="CSV files with image_name and prediction (and probability_CLASS for several classes), or submissions, "
        "separated by commas; the first is compared with each of the others."
    )
    labels: str = cli.option(
        help="CSV file with image_name, patient_id and target, and optionally fold, source, sex, age_approx, "
        "anatom_site_general_challenge, diagnosis, width, height, bytes, and columns for --target and --groups; or "
        "tables of a published data set, separated by commas."
    )
    records: str | None = cli.option(
        None,
        help="Glob pattern of shards, in quotes: they provide image sizes, file sizes, and the images of the report.",
    )
    report: str | None = cli.option(
        None, help="HTML report to write: metrics, curves and, with --records, the worst errors."
    )
    workdir: str | None = cli.option(
        None,
        help="With --report: run directory whose training is shown, and whose networks explain the worst errors "
        "(Grad-CAM).",
    )
    table: str | None = cli.option(
        None,
        help="With --workdir and --records: CSV file with image_name and the numeric columns that the run was trained "
        "with (--metadata).",
    )
    output: str | None = cli.option(None, help="JSON file to write all metrics to.")
    threshold: float | None = cli.option(
        None, lower=0.0, upper=1.0, help="Operating point: predictions from this value on are called malignant."
    )
    specificity: float | None = cli.option(
        None,
        lower=0.0,
        upper=1.0,
        help="Choose the threshold with this specificity (0 to 1) instead of that with "
        f"{evaluator.SENSITIVITY} sensitivity.",
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
        choices=units.UNITS,
        help="What to evaluate: each image, or each lesion (lesion_id), the predictions of whose images are joined.",
    )
    join: str = cli.option(
        "mean", choices=lesion_join.JOINS, help="With --unit=lesion: how to join the predictions of a lesion's images."
    )


@output_lock.locking("output", "report")
def evaluate_files(config: EvaluateConfig) -> evaluate_predictions.Evaluation:
    """Evaluates prediction files, logs the text report, and writes the figures and the HTML report.

    Args:
        config: `EvaluateConfig`.

    Returns:
        `Evaluation`.

    Raises:
        ConfigError: Options do not fit together.
        IsicError: See `evaluate_predictions.evaluate`; or `workdir` is not a run or has no trained fold.
    """
    check(config)
    evaluation = evaluate_predictions.evaluate(
        config.predictions,
        config.labels,
        records=config.records,
        threshold=config.threshold,
        specificity=config.specificity,
        allow_missing=config.allow_missing,
        target=config.target,
        positive_classes=config.positive_classes,
        groups=config.groups,
        unit=config.unit,
        join=config.join,
    )
    _LOG.info(str(evaluation))
    if config.output:
        content = json.dumps(evaluation.to_dict(), indent=1, allow_nan=False)
        atomic_write.write_text(config.output, content + "\n")
        _LOG.info(f"wrote all figures to {config.output}")
    if config.report:
        evaluation.write_report(config.report, config.workdir, config.table)
        _LOG.info(
            f"wrote the report to {config.report}; it contains image names, patient IDs and the paths of the run: "
            "consider this before you share it"
        )
    return evaluation


def check(config: EvaluateConfig) -> None:
    """Checks, before any figure is computed, that options fit together and that there is a run to show.

    Raises:
        ConfigError: Options do not fit together.
        IsicError: `workdir` is not a run or has no trained fold.
    """
    compared_files.check_options(config.predictions, config.threshold, config.specificity)
    for name, path in (("output", config.output), ("report", config.report)):
        if path and filesystem.isdir(path):
            raise errors.ConfigError(f"expected a file's path for --{name}, got the directory {path}; add a file name")
    if config.workdir and not config.report:
        raise errors.ConfigError("--workdir is shown in the report only; add --report, or remove --workdir")
    if config.table and not (config.workdir and config.records):
        raise errors.ConfigError(
            "expected --table only with --workdir and --records, for the networks that explain images; leave it out"
        )
    if config.workdir:
        from isic_tf.evaluation import html_report

        html_report.check(config.workdir, bool(config.records), config.table)
