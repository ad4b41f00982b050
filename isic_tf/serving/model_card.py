"""Writes the model card of an exported run in Markdown (Mitchell et al., FAT* 2019, arXiv:1810.03993).

Its metadata are those of the Hugging Face Hub, so that it can be the README.md of a repository there.
"""

import datetime
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe
import tensorflow as tf

from isic_tf.artifacts import run_directory, run_flags
from isic_tf.data import clinical_metadata, preprocessing_config, targets
from isic_tf.evaluation import report_template
from isic_tf.novelty import detector
from isic_tf.patient_context.second_stage import Stage
from isic_tf.serving import card_figures, graph_metadata, hub_metadata, run_parts
from isic_tf.serving.patients import patient_signature
from tfrecord_tools import schema
from tfrecord_tools.io import atomic_write

CARD_FILE = "model_card.md"


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
    parts: run_parts.RunParts = run_parts.NOTHING,
) -> dict[str, Any]:
    """Collects the facts of a model card.

    Args:
        workdir: Run directory.
        paths: Weights of the folds that were exported.
        parameters: Number of parameters of one network.
        run: See `run_directory.read_network`.
        format: `saved_model`, `tflite` or `onnx`.
        comparison: See `export_parity.tabulate`.
        images: Number of records that were compared; 0 for none.
        parts: What a SavedModel holds besides the networks.

    Returns:
        Dict of the variables of the template.

    Raises:
        CorruptRecordError: A file of metrics, or `evaluation.json`, is damaged.
    """
    directories = [os.path.dirname(path) for path in paths]
    preprocessing = preprocessing_config.find_preprocessing(run)
    metrics = card_figures.read_metrics(workdir, directories)
    whole = metrics[list(metrics)[-1]] if metrics else {}
    flags = run_flags.hide_directories(run)
    target = run.get("target", "binary")
    classes = targets.make_class_set(target, run.get("classes", ""), run.get("positive_classes", ""))
    description = _describe_target(classes, target)
    return {
        "hub": markupsafe.Markup(hub_metadata.format_metadata(flags, format, description, metrics)),  # noqa: S704
        "run": flags,
        "folds": [os.path.basename(directory) for directory in directories],
        "unfinished": [os.path.basename(path) for path in directories if not run_directory.read_metrics(path)],
        "metrics": [card_figures.format_row(name, found) for name, found in metrics.items()],
        **card_figures.read_evaluation(workdir, whole),
        "counts": {name: card_figures.count_records(run.get(name, "")) for name in ("data_dir", "extra_data_dir")},
        "parameters": f"{parameters:,}",
        "target": description,
        "classes": classes,
        "is_own_table": target.startswith("column"),
        "fields": _describe_fields(run.get("metadata", ""), "n" if format == "onnx" else "1"),
        "context": parts.stage.method if parts.stage else "",
        "patient_inputs": _describe_patient_inputs(run.get("metadata", ""), parts.stage),
        "preprocessing": describe_preprocessing(run),
        "record": {name: preprocessing.get(name) for name in run_flags.ENCODING},
        "versions": parts.versions,
        "calibration": _describe_calibration(parts.calibration),
        "false_alarm_rate": f"{detector.FALSE_ALARM_RATE:.0%}" if any(parts.detectors) else "",
        "format": format,
        "forms": [row[0] for row in comparison[1:] if row[0] not in ("run", "patient")],
        "comparison": comparison if images else [],
        "images": images,
        "tensorflow": tf.__version__,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }


def _describe_calibration(calibration: Mapping[str, Any] | None) -> dict[str, str]:
    """Describes a calibration for the template; empty without."""
    if not calibration:
        return {}
    used_at = calibration.get("used_at") or calibration["prevalence"]
    return {
        "method": calibration["method"],
        "images": f"{calibration['images']:,}",
        "fitted": f"{calibration['prevalence']:.4g}",
        "used_at": f"{used_at:.4g}",
    }


def _describe_target(classes: targets.ClassSet, target: str) -> str:
    if not classes.names:
        return "malignant or not"
    kind = (
        "diagnoses" if target == "diagnosis" else "labels of its own" if classes.multi_label else "classes of its own"
    )
    names = ", ".join(classes.names)
    return f"{len(classes.names)} {kind} ({names}); the prediction is that of {classes.describe_positive()}"


def _describe_fields(fields: str, count: str) -> list[dict[str, str]]:
    """Describes the inputs besides the image, see `_describe_field`; `count` is the number of images, 1 or n."""
    found = [_describe_field(column) for column in clinical_metadata.columns(fields)]
    numeric = zip(graph_metadata.list_inputs(fields), clinical_metadata.parse_numeric(fields), strict=True)
    for name, column in numeric:
        meaning = f"the number in the column {column}, as in the table of the training"
        example = "tf.constant([1.5])"
        served = f"float32 [n]: {meaning}, or NaN where unknown"
        lite = f"float32 [{count}]: {meaning}, or 0 where unknown"
        flag = f"int32 [{count}]: 1 where it is unknown, else 0"
        array = "np.array([1.5], np.float32)"
        found.append({"column": name, "served": served, "lite": lite, "example": example, "array": array})
        array = "np.array([0], np.int32)"
        found.append({"column": f"{name}_unknown", "served": "", "lite": flag, "example": "", "array": array})
    return found


def _describe_patient_inputs(fields: str, stage: Stage | None) -> dict[str, str]:
    """Describes the inputs of the signature `patient` besides the images, by name."""
    found = {
        field["column"]: field["served"]
        for field in _describe_fields(patient_signature.join_fields(fields, stage), "n")
        if field["served"]
    }
    exact = [spec.name for spec in patient_signature.list_signature(fields, stage) if spec.dtype == tf.float64]
    return found | {name: found[name].replace("float32", "float64") for name in exact}


def _describe_field(column: str) -> dict[str, str]:
    """Describes an input of metadata: of the SavedModel, of TensorFlow Lite and ONNX, with an example of each kind."""
    if column not in schema.CATEGORIES:
        meaning = "the age in years, 0 to 120, or -1 where unknown"
        example = "tf.constant([55], tf.int64)"
        served = f"int64 [n]: {meaning}"
        array = "np.array([55], np.int32)"
        return {"column": column, "served": served, "codes": meaning, "lite": "", "example": example, "array": array}
    names = schema.CATEGORIES[column]
    codes = ", ".join(f"{code} {name}" for code, name in enumerate(names))
    return {
        "column": column,
        "served": f'string [n]: {", ".join(names)}, or "" where unknown',
        "codes": f"{codes}, or -1 where unknown",
        "lite": "",
        "example": f'tf.constant(["{names[0]}"])',
        "array": "np.array([0], np.int32)",
    }


def describe_preprocessing(run: Mapping[str, Any]) -> str:
    """Describes how the images of a run's records were made.

    Args:
        run: See `run_directory.read_network`.

    Returns:
        Options of `tfrecord_tools.build`, separated by commas; "" where they are unknown.
    """
    names, known = preprocessing_config.WRITTEN, preprocessing_config.find_preprocessing(run)
    return ", ".join(f"{names.get(name, name)}={value}" for name, value in known.items())
