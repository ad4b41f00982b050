"""Exports a run as a SavedModel or TensorFlow Lite model, and compares it with the run."""

import contextlib
import dataclasses
import logging
import os

import numpy as np

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata
from isic_tf.distribution import cpu
from isic_tf.evaluation import text_report
from isic_tf.models import classifiers, patient_context_head
from isic_tf.models.config import ModelConfig
from isic_tf.serving import export_parity, model_card, saved_model, tflite
from tfrecord_tools import cli, errors
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)

FORMATS = ("saved_model", "tflite")
# What the exported model does to an image itself.
_PLAIN = "resize=stretch, trim_border=False, color_constancy=none"
# Images from which the ranges of the int8 form's activations are taken.
_SAMPLES = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig(cli.Config):
    """How to export a run."""

    workdir: str = cli.option(help="Run directory with at least one trained fold.")
    output: str = cli.option(help="Directory to write; new or empty.")
    format: str = cli.option(
        "saved_model", choices=FORMATS, help="saved_model takes JPEG files; tflite takes an RGB image."
    )
    fold: str = cli.option("all", help="Number of a fold, full, or all: the average of all trained folds.")
    quantize: tuple[str, ...] = cli.option(
        ("float32",), help=f"With --format=tflite: numeric formats to write, one file each: {', '.join(tflite.FORMS)}."
    )
    records: str | None = cli.option(
        None, help="Glob pattern of shards to compare the exported model with the run on; required for int8."
    )
    labels: str | None = cli.option(
        None, help="Labels (CSV) for also reporting the ROC AUC lost by conversion: image_name, patient_id, target."
    )
    threads: int = cli.option(
        0, lower=0, upper=1024, help="Threads of the TensorFlow Lite interpreter; 0 uses all available cores."
    )


def export(config):
    """Writes the model and its card into a folder; with records, says how near it comes to the run.

    Args:
        config: `ExportConfig`.

    Raises:
        IsicError: A flag does not fit, there is no trained fold, the run's flags are damaged, or the records or labels
            do not fit.
    """
    threads = config.threads
    check(config.output, config.format, config.quantize, config.records, config.labels)
    paths, run = run_directory.trained_folds(config.workdir, config.fold), run_directory.read_network(config.workdir)
    fields, threads = run.get("metadata", ""), threads or cpu.count_cores()
    rows = (
        export_parity.read_rows(config.records, config.labels, clinical_metadata.columns(fields))
        if config.records
        else None
    )
    models = [build(run, config.workdir, path) for path in paths]
    _LOG.info(f"{run['backbone']} at {run['image_size']} px, {len(paths)} fold(s)")
    if (made := model_card.describe_preparation(run)) not in ("", _PLAIN):
        _LOG.info(
            f"note: the run's records were made with {made}; a client must make its images so before it sends them"
        )
    if run.get("context") == "set":
        _LOG.info("note: the exported model sees single images, so it lacks the run's patient context")
    with _replaced_folder(config.output) as folder:
        if config.format == "saved_model":
            sizes = {"saved_model": saved_model.save(models, run["image_size"], fields, folder)}
        else:
            sizes = {
                form: write_lite(models, run["image_size"], fields, folder, form, rows) for form in config.quantize
            }
        table = (
            None
            if rows is None
            else compare_with_run(folder, models, rows, run["image_size"], fields, threads, list(sizes))
        )
        lines, images = export_parity.tabulate(sizes, table), 0 if rows is None else len(rows)
        facts = model_card.collect(config.workdir, paths, models[0].count_params(), run, config.format, lines, images)
        model_card.write(folder, facts)
    _LOG.info(text_report.align(f"Compared with the run on {images} records" if images else "Not compared", lines))
    _LOG.info(f"wrote {config.output}")


def check(output, format, quantize, records, labels):
    """Raises an IsicError where the flags do not fit each other or the output is there already."""
    unknown = [form for form in quantize if form not in tflite.FORMS]
    if unknown or not quantize:
        raise errors.IsicError(
            f"expected --quantize to be some of {','.join(tflite.FORMS)}, got {','.join(quantize)!r}"
        )
    if format == "saved_model" and quantize != ["float32"]:
        raise errors.IsicError(f"--quantize={','.join(quantize)} is for --format=tflite; a SavedModel is float32")
    if "int8" in quantize and not records:
        raise errors.IsicError("--quantize=int8 needs --records: the ranges of its numbers are taken from real images")
    if labels and not records:
        raise errors.IsicError("--labels needs --records, the images that it labels")
    if filesystem.exists(output) and (not filesystem.isdir(output) or filesystem.listdir(output)):
        raise errors.IsicError(f"expected --output to be a new or an empty folder, {output} is not; name another")


def build(run, workdir, path):
    """Builds a network of a run, what of it sees single images, and loads its weights; see `run_directory.read_network`."""
    try:
        config = ModelConfig.from_text(run)
    except ValueError as error:
        raise errors.IsicError(
            f"{os.path.join(workdir, run_directory.FLAGS_FILE)} is damaged: {error}; restore it"
        ) from error
    return patient_context_head.image_level_model(classifiers.build_from_config(config, path))


@contextlib.contextmanager
def _replaced_folder(path):
    """Yields a temporary folder that takes the name `path` when the block ends and is removed when it fails."""
    path = path.rstrip("/")
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, f".tmp-{os.getpid()}-{name}")
    filesystem.makedirs(temporary)
    try:
        yield temporary
        filesystem.rmtree(path)
        filesystem.replace(temporary, path)
    except BaseException:
        filesystem.rmtree(temporary)
        raise


def _lite_file(folder, form):
    return os.path.join(folder, f"model_{form}.tflite")


def write_lite(models, image_size, fields, folder, form, rows):
    """Writes a form's TensorFlow Lite file; gives its size in MB."""
    samples = ()
    if form == "int8":
        # Drawn evenly from all records.
        chosen = np.unique(np.linspace(0, len(rows) - 1, _SAMPLES).astype(int))
        samples = list(export_parity.read_images(rows.iloc[chosen], image_size, fields))
    content = tflite.convert(models, image_size, fields, form, samples)
    with filesystem.open(_lite_file(folder, form), "wb") as file:
        file.write(content)
    return len(content) / 1e6


def compare_with_run(folder, models, rows, image_size, fields, threads, forms):
    """Predicts the records with the run and with what was written; gives the table of `export_parity.compare`."""
    reference, found = export_parity.predict_run(models, rows, image_size, fields, threads), {}
    for form in forms:
        if form == "saved_model":
            found[form] = export_parity.predict_saved_model(folder, rows, fields)
        else:
            content = filesystem.read(_lite_file(folder, form))
            found[form] = export_parity.predict_lite(content, rows, image_size, fields, threads, form)
    table = export_parity.compare(rows, reference, found)
    for warning in export_parity.find_faults(table):
        _LOG.info(f"WARNING: {warning}")
    return table
