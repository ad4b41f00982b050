"""The model card of an exported run, in Markdown (Mitchell et al., FAT* 2019, arXiv:1810.03993)."""

import datetime
import json
import os
import re

import jinja2
import markupsafe
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, preprocessing_config, targets
from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write, filesystem

CARD_FILE = "model_card.md"


def write(folder, facts):
    """Writes a card into a folder; `facts` are those of `collect`."""
    atomic_write.write_text(os.path.join(folder, CARD_FILE), render(facts))


def render(facts):
    """Gives a card as Markdown text; every value in it is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("isic_tf.serving"),
        autoescape=True,
        finalize=escape,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )
    return environment.get_template(f"{CARD_FILE}.j2").render(facts)


def escape(value):
    """Escapes a value so that Markdown and the HTML in it show it as it is, in one line of a table too."""
    if hasattr(value, "__html__"):
        return value
    text = " ".join(str(value).split())
    text = re.sub(r"([\\`*_{}\[\]#|~!$])", r"\\\1", text)
    return markupsafe.Markup(text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;"))  # noqa: S704


def collect(workdir, paths, parameters, run, format, comparison, images):
    """Collects what a card says.

    Args:
        workdir: Run folder.
        paths: Weights of the folds that were exported.
        parameters: Number of one network's weights.
        run: See `run_directory.read_network`.
        format: `saved_model` or `tflite`.
        comparison: See `export_parity.tabulate`.
        images: Number of records compared on; 0 for none.

    Returns:
        Dict, the template's variables.

    Raises:
        IsicError: A file of figures is damaged.
    """
    folders = [os.path.dirname(path) for path in paths]
    names = [os.path.basename(folder) for folder in folders]
    figures = {name: _read_figures(folder) for name, folder in zip(names, folders, strict=True)}
    together = {"all together": _read_figures(workdir)} if len(folders) > 1 else {}
    return {
        "run": run,
        "folds": names,
        "unfinished": [name for name in names if not figures[name]],
        "metrics": [_describe_figures(*item) for item in (figures | together).items() if "auc" in item[1]],
        "parameters": f"{parameters:,}",
        "target": _describe_target(run.get("target", "binary")),
        "fields": [_describe_field(column) for column in clinical_metadata.columns(run.get("metadata", ""))],
        "preparation": describe_preparation(run),
        "format": format,
        "forms": [row[0] for row in comparison[1:] if row[0] != "run"],
        "comparison": comparison if images else [],
        "images": images,
        "tensorflow": tf.__version__,
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d"),
    }


def _read_figures(folder):
    path = os.path.join(folder, run_directory.METRICS_FILE)
    if not filesystem.exists(path):
        return {}
    try:
        figures = json.loads(filesystem.read(path))
        if not isinstance(figures, dict):
            raise TypeError(f"expected a dict, got {figures!r}")
    except (ValueError, TypeError) as error:
        raise errors.IsicError(f"{path} holds no figures of a fold ({error}); restore it, or remove it") from error
    return figures


def _describe_figures(name, figures):
    ends = figures.get("auc_low"), figures.get("auc_high")
    counts = {key: figures.get(key, "?") for key in ("images", "malignant", "patients")}
    areas = {key: _as_text(figures.get(key)) for key in ("auc", "partial_auc")}
    interval = "too few patients" if None in ends else " to ".join(map(_as_text, ends))
    return {"name": name, **counts, **areas, "interval": interval}


def _as_text(value):
    return f"{value:.4f}" if isinstance(value, float | int) else "?"


def _describe_target(target):
    if target == "binary":
        return "malignant or not"
    return f"{len(targets.CLASSES)} diagnoses ({', '.join(targets.CLASSES)}); the prediction is that of melanoma"


def _describe_field(column):
    if column not in schema.CATEGORIES:
        meaning = "the age in years, 0 to 120, or -1 where unknown"
        example = "tf.constant([55], tf.int64)"
        return {"column": column, "served": f"int64 [n]: {meaning}", "codes": meaning, "example": example}
    names = schema.CATEGORIES[column]
    codes = ", ".join(f"{code} {name}" for code, name in enumerate(names))
    return {
        "column": column,
        "served": f'string [n]: {", ".join(names)}, or "" where unknown',
        "codes": f"{codes}, or -1 where unknown",
        "example": f'tf.constant(["{names[0]}"])',
    }


def describe_preparation(run):
    """Says how the images of a run's records were made; "" where that is not known."""
    return ", ".join(f"{name}={value}" for name, value in preprocessing_config.find_preprocessing(run).items())
