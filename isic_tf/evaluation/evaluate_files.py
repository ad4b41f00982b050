"""Evaluates prediction files as the command does: logs the text report, writes the figures and the HTML report."""

import json
import logging

from isic_tf.evaluation import evaluate_predictions
from isic_tf.evaluation.config import EvaluateConfig
from tfrecord_tools import cli, errors
from tfrecord_tools.io import atomic_write, filesystem, output_lock

_LOG = logging.getLogger(__name__)


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
    """Checks, before any figure is computed, that outputs can be written and that there is a run to show.

    Raises:
        ConfigError: An output is a directory.
        IsicError: `workdir` is not a run or has no trained fold.
    """
    for name, path in (("output", config.output), ("report", config.report)):
        if path and filesystem.isdir(path):
            raise errors.ConfigError(f"expected a file's path for --{name}, got the directory {path}; add a file name")
    if config.workdir:
        with cli.quiet_imports():
            from isic_tf.evaluation import html_report

        html_report.check(config.workdir, bool(config.records), config.table)
