"""Evaluates predictions from Python: metrics with intervals, comparisons, a text summary, an HTML report."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import pandas as pd

from isic_tf.artifacts import prediction_sidecar
from isic_tf.evaluation import (
    config,
    evaluator,
    joined_tables,
    label_columns,
    text_report,
    units,
    user_groups,
)
from isic_tf.evaluation.classes import class_predictions, class_text, class_truth, predicted_classes
from isic_tf.evaluation.unlike import unlike_text
from isic_tf.metrics import paired_auc_test, summaries
from tfrecord_tools import cli
from tfrecord_tools.io.spellings import merged_identities


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
        tables: The evaluated DataFrame of each file: `image_name`, `patient_id`, `target`, `prediction`, metadata and,
            for several classes, `probability_CLASS` and `truth_CLASS`.
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

    def write_report(
        self, path: str | os.PathLike[str], workdir: str | os.PathLike[str] | None = None, table: str | None = None
    ) -> str:
        """Writes the HTML report of the first prediction file, compared with the others.

        The report names images and patients, but no directory of this machine.

        Args:
            path: HTML file to write.
            workdir: Run directory whose training is shown and, with records, whose networks explain the worst errors
                (Grad-CAM); None for none.
            table: CSV file with `image_name` and the numeric columns that the run was trained with; None for none.

        Returns:
            The path of the report.

        Raises:
            IsicError: `workdir` is not a run or has no trained fold, or a shard is corrupt.
        """
        # TensorFlow, which evaluations without a report need not wait for.
        with cli.quiet_imports():
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
            numbers=table,
        )

    def __str__(self) -> str:
        """Returns the text report: the figures of each prediction file, then the comparisons."""
        parts = []
        for file in self.files:
            parts.append(f"{file['path']}: {summaries.describe(file['summary'])}\n\n{text_report.write(file)}\n")
            if "unlike" in file:
                parts.append(f"{unlike_text.write(file['unlike'], file['confusion']['threshold'])}\n")
            if "classes" in file:
                parts.append(f"{class_text.write(file['classes'])}\n")
            if "lesions" in file:
                counts = file["lesions"]
                parts.append(
                    f"Each of the {counts['lesions']} lesions counts once, with the {counts['join']} of the "
                    f"predictions of its images ({counts['images']} together).\n"
                )
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
    target: str | None = None,
    positive_classes: Sequence[str] = (),
    groups: Sequence[str] = (),
    unit: str = "image",
    join: str = "mean",
) -> Evaluation:
    """Evaluates predictions: ranking, calibration, operating points, subgroups, patients and shortcuts.

    Args:
        predictions: CSV file or DataFrame with `image_name` and `prediction` (from 0 to 1), and perhaps `unlike`, or a
            list of these for the same images: the first is then compared with each of the others.
        labels: CSV file or DataFrame with `image_name`, `patient_id` (blank where unknown) and `target` (0 or 1), and
            optionally `fold`, `source`, `sex`, `age_approx`, `anatom_site_general_challenge`, `diagnosis`, `width`,
            `height` and `bytes`.
        records: Glob pattern of shards: they provide image sizes, file sizes, and the images of the report.
        threshold: Operating point, from 0 to 1: predictions from this value on are called malignant. None to choose it.
        specificity: Choose the threshold with this specificity, from 0 to 1; None for that with 90 % sensitivity.
        allow_missing: Whether images with a label may lack a prediction, and the other way round; they are left out.
            Out-of-fold predictions, which have a column `fold`, may be those of some folds only.
        target: Where the true classes are, for predictions of several classes (columns `probability_CLASS`, or a
            submission of a challenge): `column:NAME` or `columns:A,B`; None for columns named like the classes.
        positive_classes: The classes that the single prediction is of, where the sidecar does not say it.
        groups: Columns of the labels whose values are groups to evaluate and compare.
        unit: What to evaluate: each `image`, or each `lesion`, the predictions of whose images are joined.
        join: How to join them: `mean` or `max`.

    Returns:
        `Evaluation`.

    Raises:
        ConfigError: Both `threshold` and `specificity` are given, or no predictions, or other options do not fit.
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
    names = units.name_sources(predictions)
    config.check_options(names, threshold, specificity)
    config.check_unit(unit, join)
    truth = class_truth.find(predictions, names, labels, target, positive_classes, allow_missing)
    known = truth.labels if truth else joined_tables.read_labels(labels)
    known = user_groups.add_columns(known, labels, groups)
    of_records = joined_tables.read_records(os.fspath(records)) if records else None
    labels_name = label_columns.name_labels(labels)
    merged_identities.log_merged(known, labels_name)
    joined = []
    for source, name in zip(predictions, names, strict=True):
        read = class_predictions.convert_source(source, name, truth)
        table = joined_tables.join(read, labels_name, known, of_records, name, allow_missing)
        if truth and read is source:
            predicted_classes.note_misfits(table, name, truth.classes)
        joined.append(table)
    tables = [units.select(table, unit, join) for table in joined]
    units.refuse_other_images(names, tables)
    files = []
    for name, source, images, table in zip(names, predictions, joined, tables, strict=True):
        is_file = not isinstance(source, pd.DataFrame)
        context = prediction_sidecar.used_patient_context([name]) if is_file else None
        figures = evaluator.assess(table, threshold, specificity, truth=truth, groups=groups)
        if unit == config.LESION:
            figures["lesions"] = {"join": join, "images": len(images), "lesions": len(table)}
        files.append({"path": name, "patient_context": context, "unpredicted": len(known) - len(images), **figures})
    comparisons = [
        {"first": names[0], "second": name, **paired_auc_test.compare(tables[0], table)}
        for name, table in zip(names[1:], tables[1:], strict=True)
    ]
    return Evaluation(files, comparisons, tables, of_records)
