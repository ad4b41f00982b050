"""Evaluates prediction files: metrics with intervals, a text summary and an HTML report."""

import dataclasses
import json
import logging

import pandas as pd

from isic_tf.artifacts import prediction_sidecar
from isic_tf.data import label_tables
from isic_tf.evaluation import evaluator, joined_tables, text_report
from isic_tf.metrics import paired_auc_test, summaries
from tfrecord_tools import cli, errors
from tfrecord_tools.io import atomic_write, filesystem

_LOG = logging.getLogger(__name__)


def refuse_other_images(paths, tables):
    """Refuses prediction files of different images: a difference would be that of the images.

    Args:
        paths: Names for the message.
        tables: DataFrames in order of `image_name`.

    Raises:
        IsicError: The names of one are not those of the first.
    """
    first = pd.Index(tables[0]["image_name"])
    for path, table in zip(paths[1:], tables[1:], strict=True):
        names = pd.Index(table["image_name"])
        kinds = {paths[0]: first[~first.isin(names)], path: names[~names.isin(first)]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in kinds.items() if len(own)]
        if texts:
            raise errors.IsicError(
                f"files can be compared on the same images only: {'; '.join(texts)}; give one at a time"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(cli.Config):
    """Which prediction files to evaluate, and what to write."""

    predictions: tuple[str, ...] = cli.option(
        help="CSV files with image_name and prediction, or submissions, separated by commas; the first is compared with each of the others."
    )
    labels: str = cli.option(
        help="CSV file with image_name, patient_id and target, and optionally fold, source, sex, age_approx, anatom_site_general_challenge, diagnosis, width, height, bytes."
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
        help="With --report: run directory whose training is shown, and whose networks explain the worst errors (Grad-CAM).",
    )
    output: str | None = cli.option(None, help="JSON file to write all metrics to.")
    threshold: float | None = cli.option(
        None, lower=0.0, upper=1.0, help="Operating point: predictions from this value on are called malignant."
    )
    specificity: float | None = cli.option(
        None,
        lower=0.0,
        upper=1.0,
        help=f"Choose the threshold with this specificity (0 to 1) instead of that with {evaluator.SENSITIVITY} sensitivity.",
    )


def evaluate(config):
    """Prints what can be said of each prediction file, and of the first against each other.

    Args:
        config: `EvaluateConfig`.

    Raises:
        IsicError: Flags do not go together, a table is damaged, a predicted image has no label or another target, the
            files are of different images, there is one class only, or the run has no networks.
    """
    refuse_misfits(
        config.predictions,
        config.records,
        config.output,
        config.report,
        config.workdir,
        config.threshold,
        config.specificity,
    )
    known = label_tables.read_labels(config.labels)
    of_records = joined_tables.read_records(config.records) if config.records else None
    joined = [joined_tables.join(path, config.labels, known, of_records) for path in config.predictions]
    refuse_other_images(config.predictions, joined)
    files, comparisons = evaluate_tables(config.predictions, joined, config.threshold, config.specificity)
    if config.output:
        content = json.dumps({"files": files, "comparisons": comparisons}, indent=1, allow_nan=False)
        atomic_write.write_text(config.output, content + "\n")
        _LOG.info(f"wrote all figures to {config.output}")
    if config.report:
        write_report(config.report, files, joined, comparisons, config.workdir, of_records)
        _LOG.info(
            f"wrote the report to {config.report}, which names images, patients and the flags' paths; mind who gets it"
        )


def refuse_misfits(predictions, records, output, report, workdir, threshold, specificity):
    """Raises an IsicError where flags do not go together, or there is no run to show; see `evaluate`."""
    if not predictions:
        raise errors.IsicError("expected one or more files for --predictions, got none")
    if threshold is not None and specificity is not None:
        raise errors.IsicError("expected --threshold or --specificity, got both; give one")
    for name, path in (("output", output), ("report", report)):
        if path and filesystem.isdir(path):
            raise errors.IsicError(f"expected a file's name for --{name}, got the folder {path}")
    if workdir and not report:
        raise errors.IsicError("expected --report with --workdir, whose training and networks it shows")
    if workdir:
        from isic_tf.evaluation import html_report

        html_report.check(workdir, bool(records))


def evaluate_tables(predictions, joined, threshold, specificity):
    """Judges prediction files and prints what is found; see `evaluate`.

    Args:
        predictions: Names of the files, `[n]`.
        joined: What `joined_tables.join` gives of each.
        threshold: See `evaluator.assess`.
        specificity: See `evaluator.assess`.

    Returns:
        List of what `evaluator.assess` gives of each file, with its `path` and `patient_context`; and list of what
        `paired_auc_test.compare` gives of the first and each other, with their paths as `first` and `second`.
    """
    files, comparisons = [], []
    for path, table in zip(predictions, joined, strict=True):
        found = evaluator.assess(table, threshold, specificity)
        _LOG.info(f"{path}: {summaries.describe(found['summary'])}\n\n{text_report.write(found)}\n")
        used = prediction_sidecar.used_patient_context([path])
        if used:
            _LOG.info(f"In {path} the patients' other images had a part, which some rules forbid.\n")
        files.append({"path": path, "patient_context": used, **found})
    for path, table in zip(predictions[1:], joined[1:], strict=True):
        found = paired_auc_test.compare(joined[0], table)
        _LOG.info(f"{text_report.compare(predictions[0], path, found)}\n")
        comparisons.append({"first": predictions[0], "second": path, **found})
    return files, comparisons


def write_report(path, files, joined, comparisons, workdir, records):
    """Writes the HTML report of the first prediction file, the others beside it."""
    # Jinja and the networks' code, which other evaluations need not wait for.
    from isic_tf.evaluation import html_report

    others = list(zip(files[1:], joined[1:], comparisons, strict=True))
    html_report.write(path, files[0]["path"], files[0], joined[0], others, workdir=workdir, records=records)
