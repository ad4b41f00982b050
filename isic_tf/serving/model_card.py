"""Writes the model card of an exported run in Markdown (Mitchell et al., FAT* 2019, arXiv:1810.03993)."""

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe
import tensorflow as tf

from isic_tf.artifacts import run_directory, run_flags
from isic_tf.data import clinical_metadata, preprocessing_config, targets
from isic_tf.evaluation import number_format, report_template
from isic_tf.serving import saved_model
from tfrecord_tools import schema
from tfrecord_tools.io import atomic_write

CARD_FILE = "model_card.md"

_NUMBERS = number_format.NumberFormat(
    digits=4,
    missing="?",
    minus="-",
    space=" ",
    interval_pattern="{low} to {high}",
    missing_interval="no interval: too few patients",
)


def write(directory: str, facts: Mapping[str, Any]) -> None:
    """Writes a model card.

    Args:
        directory: Directory to write it into.
        facts: See `collect`.
    """
    atomic_write.write_text(os.path.join(directory, CARD_FILE), render(facts))


def render(facts: Mapping[str, Any]) -> str:
    """Renders a model card.

    Args:
        facts: See `collect`.

    Returns:
        Markdown text, in which every value is escaped.
    """
    environment = report_template.make_environment("isic_tf.serving", finalize=escape, keep_trailing_newline=True)
    return environment.get_template(f"{CARD_FILE}.j2").render(facts)


def escape(value: Any) -> Any:
    r"""Escapes a value so that Markdown and the HTML in it show it as it is, on one line of a table.

    Args:
        value: Any value; one that is marked as safe is returned unchanged.

    Returns:
        `markupsafe.Markup`, or the value.

    Examples:
        >>> str(escape("a|b <c>"))
        'a\\|b &lt;c&gt;'
    """
    if hasattr(value, "__html__"):
        return value
    text = " ".join(str(value).split())
    text = re.sub(r"([\\`*_{}\[\]#|~!$])", r"\\\1", text)
    return markupsafe.Markup(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))  # noqa: S704


def collect(
    workdir: str,
    paths: Sequence[str],
    parameters: int,
    run: Mapping[str, Any],
    format: str,
    comparison: Sequence[Sequence[str]],
    images: int,
) -> dict[str, Any]:
    """Collects the facts of a model card.

    Args:
        workdir: Run directory.
        paths: Weights of the folds that were exported.
        parameters: Number of parameters of one network.
        run: See `run_directory.read_network`.
        format: `saved_model` or `tflite`.
        comparison: See `export_parity.tabulate`.
        images: Number of records that were compared; 0 for none.

    Returns:
        Dict of the variables of the template.

    Raises:
        CorruptRecordError: A file of metrics is damaged.
    """
    directories = [os.path.dirname(path) for path in paths]
    metrics = {os.path.basename(directory): run_directory.read_metrics(directory) for directory in directories}
    together = {"all together": run_directory.read_metrics(workdir)} if len(directories) > 1 else {}
    target = run.get("target", "binary")
    classes = targets.make_class_set(target, run.get("classes", ""), run.get("positive_classes", ""))
    return {
        "run": run_flags.hide_directories(run),
        "folds": list(metrics),
        "unfinished": [name for name, found in metrics.items() if not found],
        "metrics": [_format_metrics(name, found) for name, found in {**metrics, **together}.items() if "auc" in found],
        "parameters": f"{parameters:,}",
        "target": _describe_target(classes, target),
        "classes": classes,
        "is_own_table": target.startswith("column"),
        "fields": _describe_fields(run.get("metadata", "")),
        "preprocessing": describe_preprocessing(run),
        "format": format,
        "forms": [row[0] for row in comparison[1:] if row[0] != "run"],
        "comparison": comparison if images else [],
        "images": images,
        "tensorflow": tf.__version__,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }


def _format_metrics(name: str, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the cells of a fold's row in the table of metrics."""
    return {
        "name": name,
        "images": metrics.get("images", "?"),
        "malignant": metrics.get("malignant", "?"),
        "patients": metrics.get("patients", "?"),
        "auc": _NUMBERS.number(metrics.get("auc")),
        "partial_auc": _NUMBERS.number(metrics.get("partial_auc")),
        "interval": metrics.get("interval_note") or _NUMBERS.interval(metrics.get("auc_low"), metrics.get("auc_high")),
    }


def _describe_target(classes: targets.ClassSet, target: str) -> str:
    if not classes.names:
        return "malignant or not"
    kind = (
        "diagnoses" if target == "diagnosis" else "labels of its own" if classes.multi_label else "classes of its own"
    )
    names = ", ".join(classes.names)
    return f"{len(classes.names)} {kind} ({names}); the prediction is that of {classes.describe_positive()}"


def _describe_fields(fields: str) -> list[dict[str, str]]:
    """Describes the inputs besides the image, see `_describe_field`."""
    found = [_describe_field(column) for column in clinical_metadata.columns(fields)]
    numeric = zip(saved_model.list_inputs(fields), clinical_metadata.parse_numeric(fields), strict=True)
    for name, column in numeric:
        meaning = f"the number in the column {column}, as in the table of the training"
        example = "tf.constant([1.5])"
        served = f"float32 [n]: {meaning}, or NaN where unknown"
        lite = f"float32 [1]: {meaning}, or 0 where unknown"
        flag = "int32 [1]: 1 where it is unknown, else 0"
        found.append({"column": name, "served": served, "lite": lite, "example": example})
        found.append({"column": f"{name}_unknown", "served": "", "lite": flag, "example": ""})
    return found


def _describe_field(column: str) -> dict[str, str]:
    """Describes an input of metadata: of the SavedModel, of TensorFlow Lite, and an example."""
    if column not in schema.CATEGORIES:
        meaning = "the age in years, 0 to 120, or -1 where unknown"
        example = "tf.constant([55], tf.int64)"
        served = f"int64 [n]: {meaning}"
        return {"column": column, "served": served, "codes": meaning, "lite": "", "example": example}
    names = schema.CATEGORIES[column]
    codes = ", ".join(f"{code} {name}" for code, name in enumerate(names))
    return {
        "column": column,
        "served": f'string [n]: {", ".join(names)}, or "" where unknown',
        "codes": f"{codes}, or -1 where unknown",
        "lite": "",
        "example": f'tf.constant(["{names[0]}"])',
    }


def describe_preprocessing(run: Mapping[str, Any]) -> str:
    """Describes how the images of a run's records were made.

    Args:
        run: See `run_directory.read_network`.

    Returns:
        Options of `tfrecord_tools.build`, separated by commas; "" where they are unknown.
    """
    return ", ".join(f"{name}={value}" for name, value in preprocessing_config.find_preprocessing(run).items())
