"""The evaluation as one HTML file that needs nothing else: no network, no script, every value of the data escaped."""

import datetime
import os

import jinja2

from isic_tf.artifacts import run_directory
from isic_tf.evaluation import failure_cases, patient_panels, svg_plots
from isic_tf.metrics import operating_points
from tfrecord_tools.io import atomic_write

TEMPLATE = "report.html.j2"


def write(path, name, assessment, table, others=(), *, workdir=None, records=None, count=6):
    """Writes the report.

    Args:
        path: HTML file to write.
        name: What was judged, such as the prediction file's path.
        assessment: See `evaluator.assess`; with `patient_context`, see `prediction_sidecar.used_patient_context`, where it is known.
        table: DataFrame that it was made of: `image_name`, `patient_id`, `target` and `prediction`; `sex`,
            `age_approx`, `anatom_site_general_challenge` and `diagnosis` (text) are told of the worst images where
            they are there, and of `stage_one` how patient context moved the melanomas.
        others: Of each further prediction file of the same images, a tuple of its assessment, its table, and what
            `paired_auc_test.compare` says of the first and it, with the name of it as `second`.
        workdir: Run folder, of which flags and training are shown and whose networks explain images; None for none.
        records: DataFrame of records that hold the images, see `joined_tables.read_records`; None for no pictures.
        count: Number of false negatives, and of false positives, at most.

    Raises:
        ValueError: There is no run in `workdir` or no trained fold to explain by, or a shard is corrupt.
    """
    flags = run_directory.read_flags(workdir) if workdir else {}
    missed, alarms = failure_cases.find(table, assessment["confusion"]["threshold"], count)
    pictures = failure_cases.look([*missed["image_name"], *alarms["image_name"]], workdir, records)
    context = {
        "patient_context": None,
        **assessment,
        "name": name,
        "plots": draw(assessment, [table, *(other for _, other, _ in others)]),
        "comparisons": [{**compared, "summary": other["summary"]} for other, _, compared in others],
        "training": draw_training(workdir),
        "missed": failure_cases.describe(missed, pictures),
        "alarms": failure_cases.describe(alarms, pictures),
        "pictured": records is not None,
        "beside": patient_panels.describe(table, records),
        "explained": records is not None and bool(workdir),
        "flags": flags,
        "made": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
    }
    atomic_write.write_text(path, render(context))


def check(workdir, explained):
    """Raises a ValueError where there is no run in a folder or, to explain images by, no trained fold of it."""
    run_directory.read_network(workdir)
    if explained:
        run_directory.trained_folds(workdir)


def render(context):
    """Fills the template; every value is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("isic_tf.evaluation"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        number=number, significant=significant, threshold=threshold, percent=percent, grouped=grouped
    )
    environment.globals.update(interval=interval, span=svg_plots.span, frame=svg_plots, side=failure_cases.SIDE)
    return environment.get_template(TEMPLATE).render(context)


def draw(assessment, tables):
    """Lays out the figures of the predictions; see `svg_plots.plot`.

    Args:
        assessment: That of the first table.
        tables: DataFrames with `target` and `prediction`.

    Returns:
        Dict of `roc`, `precision_recall`, `reliability` and `histogram`; the first two of all tables.
    """
    curves = [(table["target"].to_numpy(), table["prediction"].to_numpy()) for table in tables]
    chosen = assessment["confusion"]
    sensitivity, predictive = chosen["sensitivity"], chosen["positive_predictive_value"]
    return {
        "roc": svg_plots.roc(curves, (chosen["specificity"], sensitivity)),
        "precision_recall": svg_plots.precision_recall(
            curves, None if predictive is None else (predictive, sensitivity)
        ),
        "reliability": svg_plots.reliability(assessment["calibration"]["bins"]),
        "histogram": svg_plots.histogram(*curves[0], chosen["threshold"]),
    }


def draw_training(workdir):
    """Lays out the figures of a run's training.

    Returns:
        Dict of `names` of the folds, and `plots`, see `svg_plots.plot`; None where there is no history.
    """
    paths = run_directory.fold_files(workdir, run_directory.HISTORY_FILE) if workdir else []
    folders = [os.path.dirname(path) for path in paths]
    histories = [run_directory.read_history(folder) for folder in folders]
    columns = {"loss": "training loss", "auc": "ROC AUC, held out"}
    plots = [svg_plots.training(histories, column, label) for column, label in columns.items()] if paths else []
    names = [os.path.basename(folder) for folder in folders]
    return {"names": names, "plots": [plot for plot in plots if plot]} if any(plots) else None


def number(value, digits=3):
    """Writes a number with so many decimals, a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}f}".replace("-", "\N{MINUS SIGN}")


def significant(value, digits=3):
    """Writes a number, such as a small threshold, with so many significant digits; a dash for None."""
    return "\N{EN DASH}" if value is None else f"{value:.{digits}g}".replace("-", "\N{MINUS SIGN}")


def threshold(value):
    """Writes a threshold; a dash for None."""
    return "\N{EN DASH}" if value is None else operating_points.spell(value).replace("-", "\N{MINUS SIGN}")


def percent(value, digits=1):
    """Writes a share in percent, a dash for None."""
    return "\N{EN DASH}" if value is None else f"{100 * value:.{digits}f}\N{NO-BREAK SPACE}%"


def grouped(value):
    """Writes a count with commas between thousands."""
    return f"{value:,}"


def interval(low, high, digits=3):
    """Writes an interval; nothing where there is none."""
    return "" if low is None else f"{number(low, digits)} to {number(high, digits)}"
