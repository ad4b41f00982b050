"""Evaluates predictions from Python: metrics with intervals, comparisons, a text summary, an HTML report."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from isic_tf.artifacts import prediction_sidecar
from isic_tf.evaluation import evaluator, joined_tables, text_report
from isic_tf.metrics import paired_auc_test, summaries
from tfrecord_tools import errors
from tfrecord_tools.io import identity


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """The evaluation of one or several prediction files of the same images.

    `print(evaluation)` shows the text report; as the last expression of a notebook cell, it shows its curves.

    Attributes:
        files: The figures of each prediction file, see `evaluator.assess`, with its `path`, `patient_context` (whether
            other images of a patient influenced the prediction of one; None where unknown) and `unpredicted` (number of
            images that have a label but no prediction).
        comparisons: The difference between the first file and each other, see `isic_tf.metrics.compare`, with their
            paths as `first` and `second`.
        tables: The evaluated DataFrame of each file: `image_name`, `patient_id`, `target`, `prediction` and metadata.
        records: DataFrame of the records that hold the images, or None.

    Examples:
        >>> import pandas as pd
        >>> names = ["a", "b", "c", "d"]
        >>> predictions = pd.DataFrame({"image_name": names, "prediction": [0.1, 0.8, 0.3, 0.2]})
        >>> labels = pd.DataFrame({"image_name": names, "patient_id": ["p", "p", "q", "r"], "target": [0, 1, 0, 1]})
        >>> evaluation = evaluate(predictions, labels)
        >>> evaluation.roc_auc
        0.75
        >>> evaluation.figures["confusion"]["true_positives"]
        2
    """

    files: list[dict[str, Any]]
    comparisons: list[dict[str, Any]]
    tables: list[pd.DataFrame]
    records: pd.DataFrame | None = None

    @property
    def figures(self) -> dict[str, Any]:
        """All figures of the first prediction file, plain values that fit into JSON; see `files`."""
        return self.files[0]

    @property
    def roc_auc(self) -> float:
        """Exact ROC AUC of the first prediction file, from 0 to 1."""
        return self.figures["summary"]["auc"]

    @property
    def roc_auc_interval(self) -> tuple[float | None, float | None]:
        """95 % interval of the ROC AUC over resampled patients; both None where there are too few patients."""
        summary = self.figures["summary"]
        return summary["auc_low"], summary["auc_high"]

    def to_dict(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the content of `--output`: `files` and `comparisons`, plain values that fit into JSON."""
        return {"files": self.files, "comparisons": self.comparisons}

    def write_report(self, path: str | os.PathLike[str], workdir: str | os.PathLike[str] | None = None) -> str:
        """Writes the HTML report of the first prediction file, compared with the others.

        The report names images and patients, but no directory of this machine.

        Args:
            path: HTML file to write.
            workdir: Run directory whose training is shown and, with records, whose networks explain the worst errors
                (Grad-CAM); None for none.

        Returns:
            The path of the report.

        Raises:
            IsicError: `workdir` is not a run or has no trained fold, or a shard is corrupt.
        """
        # TensorFlow, which evaluations without a report need not wait for.
        from isic_tf.evaluation import html_report

        others = list(zip(self.files[1:], self.tables[1:], self.comparisons, strict=True))
        return html_report.write(
            os.fspath(path),
            self.figures["path"],
            self.figures,
            self.tables[0],
            others,
            workdir=None if workdir is None else os.fspath(workdir),
            records=self.records,
        )

    def __str__(self) -> str:
        """Returns the text report: the figures of each prediction file, then the comparisons."""
        parts = []
        for file in self.files:
            parts.append(f"{file['path']}: {summaries.describe(file['summary'])}\n\n{text_report.write(file)}\n")
            if file["unpredicted"]:
                parts.append(f"{file['unpredicted']} images have a label but no prediction and are not evaluated.\n")
            if file["patient_context"]:
                parts.append(f"In {file['path']} the patients' other images had a part, which some rules forbid.\n")
        for comparison in self.comparisons:
            parts.append(f"{text_report.compare(comparison['first'], comparison['second'], comparison)}\n")
        return "\n".join(parts)

    def __repr__(self) -> str:
        """Returns one line: the first file and its ROC AUC."""
        return f"<Evaluation of {self.figures['path']}: {summaries.describe(self.figures['summary'])}>"

    def _repr_html_(self) -> str:
        """Returns the ROC, precision-recall and reliability curves as HTML for notebooks."""
        from isic_tf.evaluation import report_plots, report_template

        plots = report_plots.plot_predictions(self.figures, self.tables)
        context = {"names": [file["path"] for file in self.files], "summary": self.figures["summary"], "plots": plots}
        return report_template.render("notebook.html.j2", context)


def evaluate(
    predictions: joined_tables.TableSource | Sequence[joined_tables.TableSource],
    labels: joined_tables.TableSource,
    *,
    records: str | None = None,
    threshold: float | None = None,
    specificity: float | None = None,
    allow_missing: bool = False,
) -> Evaluation:
    """Evaluates predictions: ranking, calibration, operating points, subgroups, patients and shortcuts.

    Args:
        predictions: CSV file or DataFrame with `image_name` and `prediction` (from 0 to 1), or a list of these for the
            same images: the first is then compared with each of the others.
        labels: CSV file or DataFrame with `image_name`, `patient_id` (blank where unknown) and `target` (0 or 1), and
            optionally `fold`, `source`, `sex`, `age_approx`, `anatom_site_general_challenge`, `diagnosis`, `width`,
            `height` and `bytes`.
        records: Glob pattern of shards: they provide image sizes, file sizes, and the images of the report.
        threshold: Operating point, from 0 to 1: predictions from this value on are called malignant. None to choose it.
        specificity: Choose the threshold with this specificity, from 0 to 1; None for that with 90 % sensitivity.
        allow_missing: Whether images with a label may lack a prediction, and the other way round; they are left out.
            Out-of-fold predictions, which have a column `fold`, may be those of some folds only.

    Returns:
        `Evaluation`.

    Raises:
        ConfigError: Both `threshold` and `specificity` are given, or no predictions.
        IsicError: A table is damaged, an image has no prediction, no label or different targets, the files hold
            different images, or there is one class only.

    Examples:
        >>> import pandas as pd
        >>> names = ["a", "b", "c", "d"]
        >>> predictions = pd.DataFrame({"image_name": names, "prediction": [0.1, 0.8, 0.3, 0.2]})
        >>> labels = pd.DataFrame({"image_name": names, "patient_id": ["p", "p", "q", "r"], "target": [0, 1, 0, 1]})
        >>> evaluate(predictions, labels).roc_auc
        0.75
    """
    if isinstance(predictions, (str, os.PathLike, pd.DataFrame)):
        predictions = [predictions]
    names = name_sources(predictions)
    check_options(names, threshold, specificity)
    known = joined_tables.read_labels(labels)
    of_records = joined_tables.read_records(os.fspath(records)) if records else None
    labels_name = "the labels" if isinstance(labels, pd.DataFrame) else os.fspath(labels)
    identity.log_merged(known, labels_name)
    tables = [
        joined_tables.join(source, labels_name, known, of_records, name, allow_missing)
        for source, name in zip(predictions, names, strict=True)
    ]
    refuse_other_images(names, tables)
    files = []
    for name, source, table in zip(names, predictions, tables, strict=True):
        is_file = not isinstance(source, pd.DataFrame)
        context = prediction_sidecar.used_patient_context([name]) if is_file else None
        figures = evaluator.assess(table, threshold, specificity)
        files.append({"path": name, "patient_context": context, "unpredicted": len(known) - len(table), **figures})
    comparisons = [
        {"first": names[0], "second": name, **paired_auc_test.compare(tables[0], table)}
        for name, table in zip(names[1:], tables[1:], strict=True)
    ]
    return Evaluation(files, comparisons, tables, of_records)


def name_sources(predictions: Sequence[joined_tables.TableSource]) -> list[str]:
    """Names each prediction table: a file by its path, a DataFrame `predictions`, `predictions 2` and so on."""
    names = []
    for number, source in enumerate(predictions, start=1):
        if isinstance(source, pd.DataFrame):
            names.append("predictions" if number == 1 else f"predictions {number}")
        else:
            names.append(os.fspath(source))
    return names


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


def refuse_other_images(paths: Sequence[str], tables: Sequence[pd.DataFrame]) -> None:
    """Refuses prediction files of different images: their difference would be that of the images.

    Args:
        paths: Names for the message.
        tables: DataFrames in order of `image_name`.

    Raises:
        IsicError: A table has other names than the first.
    """
    first = pd.Index(tables[0]["image_name"])
    for path, table in zip(paths[1:], tables[1:], strict=True):
        names = pd.Index(table["image_name"])
        only = {paths[0]: first[~first.isin(names)], path: names[~names.isin(first)]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in only.items() if len(own)]
        if texts:
            raise errors.IsicError(
                f"files can be compared on the same images only: {'; '.join(texts)}; evaluate one at a time"
            )
