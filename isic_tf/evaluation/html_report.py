"""Writes an evaluation as one self-contained HTML file: no network, no scripts, every value of the data escaped."""

import datetime
import os
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from isic_tf.artifacts import run_directory, run_flags
from isic_tf.data import clinical_metadata
from isic_tf.evaluation import failure_cases, patient_panels, report_plots, report_template, svg_plots
from tfrecord_tools.io import atomic_write

TEMPLATE = "report.html.j2"
_TRAINING_COLUMNS = {"loss": "training loss", "auc": "validation ROC AUC"}
# An assessment, a table and a comparison with the first file.
OtherFile = tuple[Mapping[str, Any], pd.DataFrame, Mapping[str, Any]]


def write(
    path: str,
    name: str,
    assessment: Mapping[str, Any],
    table: pd.DataFrame,
    others: Sequence[OtherFile] = (),
    *,
    workdir: str | None = None,
    records: pd.DataFrame | None = None,
    numbers: str | None = None,
    count: int = 6,
) -> str:
    """Writes the report.

    Args:
        path: HTML file to write.
        name: What was evaluated, such as the path of the prediction file.
        assessment: See `evaluator.assess`; with `patient_context`, see `prediction_sidecar.used_patient_context`, where
            it is known.
        table: DataFrame that was evaluated: `image_name`, `patient_id`, `target` and `prediction`; where it has them,
            `sex`, `age_approx`, `anatom_site_general_challenge` and `diagnosis` (text) describe the worst errors, and
            `stage_one` shows how patient context moved the melanomas.
        others: For each further prediction file of the same images, a tuple of its assessment, its table, and its
            comparison (see `paired_auc_test.compare`) with its name as `second`.
        workdir: Run directory whose flags and training are shown and whose networks explain images; None for none.
        records: DataFrame of records that hold the images, see `joined_tables.read_records`; None for no images.
        numbers: CSV file with the numeric columns that the run's networks use; None for none.
        count: Maximum number of false negatives, and of false positives.

    Returns:
        `path`.

    Raises:
        IsicError: `workdir` is not a run or has no trained fold, or a shard is corrupt.
    """
    flags = run_directory.read_flags(workdir) if workdir else {}
    missed, alarms = failure_cases.find(table, assessment["confusion"]["threshold"], count)
    names = [*missed["image_name"], *alarms["image_name"]]
    pictures = failure_cases.load_pictures(names, workdir, records, numbers)
    shown = shorten_paths([name, *(compared["second"] for _, _, compared in others)])
    class_curves = report_plots.plot_classes(assessment, table)
    context = {
        "patient_context": None,
        "classes": None,
        "lesions": None,
        "unlike": None,
        **assessment,
        "class_curves": class_curves,
        "class_names_shown": [class_name for class_name, _ in class_curves],
        "name": shown[0],
        "risk_coverage_plot": report_plots.plot_risk_coverage(assessment, table),
        "plots": report_plots.plot_predictions(assessment, [table, *(other for _, other, _ in others)]),
        "comparisons": [
            {**compared, "summary": other["summary"], "second": second}
            for (other, _, compared), second in zip(others, shown[1:], strict=True)
        ],
        "training": plot_training(workdir),
        "missed": failure_cases.describe(missed, pictures),
        "alarms": failure_cases.describe(alarms, pictures),
        "pictured": records is not None,
        "side": failure_cases.SIDE,
        "panels": patient_panels.describe(table, records),
        "explained": records is not None and bool(workdir),
        "flags": run_flags.hide_directories(flags),
        "made": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    atomic_write.write_text(path, report_template.render(TEMPLATE, context))
    return path


def shorten_paths(names: Sequence[str]) -> list[str]:
    """Shortens absolute paths by the directory that they have in common: a report is for other people.

    Args:
        names: Paths of prediction files, or other names.

    Returns:
        As many names; those that are no absolute path are unchanged.

    Examples:
        >>> shorten_paths(["/home/jane/runs/b0/oof.csv", "/home/jane/runs/b4/oof.csv", "predictions"])
        ['b0/oof.csv', 'b4/oof.csv', 'predictions']
    """
    directories = [os.path.dirname(name) for name in names if os.path.isabs(name)]
    if not directories:
        return list(names)
    common = os.path.commonpath(directories)
    return [os.path.relpath(name, common) if os.path.isabs(name) else name for name in names]


def check(workdir: str, explained: bool, numbers: str | None = None) -> None:
    """Checks, before anything is computed, that a directory holds the run that a report needs.

    Args:
        workdir: Run directory.
        explained: Whether its networks will explain images.
        numbers: CSV file with the numeric columns that the run's networks use; None for none.

    Raises:
        ConfigError: Images will be explained, and the file is missing or not needed.
        IsicError: `workdir` is not a run or, where images will be explained, has no trained fold.
    """
    run = run_directory.read_network(workdir)
    if explained:
        run_directory.trained_folds(workdir)
        clinical_metadata.check_table(numbers, clinical_metadata.parse_numeric(run.get("metadata", "")))


def plot_training(workdir: str | None) -> dict[str, list[Any]] | None:
    """Lays out the figures of a run's training.

    Args:
        workdir: Run directory; None for none.

    Returns:
        Dict of `names` (of the folds) and `plots`, see `svg_plots.plot`; None where there is no history.
    """
    paths = run_directory.fold_files(workdir, run_directory.HISTORY_FILE) if workdir else []
    if not paths:
        return None
    folders = [os.path.dirname(path) for path in paths]
    histories = [run_directory.read_history(folder) for folder in folders]
    plots = [svg_plots.training(histories, column, label) for column, label in _TRAINING_COLUMNS.items()]
    if not any(plots):
        return None
    return {"names": [os.path.basename(folder) for folder in folders], "plots": [plot for plot in plots if plot]}
