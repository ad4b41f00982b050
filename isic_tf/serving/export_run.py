"""Exports a run as a SavedModel, TensorFlow Lite or ONNX model, and compares it with the run."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import disk_space, run_directory
from isic_tf.data import clinical_metadata, targets
from isic_tf.distribution import cpu
from isic_tf.evaluation import text_report
from isic_tf.inference import context_stage
from isic_tf.models import classifiers, patient_context_head
from isic_tf.models.config import read_model_config
from isic_tf.postprocessing import calibration_file
from isic_tf.serving import export_parity, exported_predictions, model_card, onnx_model, run_parts, saved_model, tflite
from isic_tf.serving.config import ExportConfig, refuse_existing
from isic_tf.serving.patients import graph_context, patient_predictions, patient_signature
from tfrecord_tools.io import filesystem, output_lock, temporary_files

_LOG = logging.getLogger(__name__)

# The preprocessing that a TensorFlow Lite or ONNX model needs from its client besides resizing.
_NO_PREPROCESSING = "resize=stretch, trim_border=False, color_constancy=none"
# Number of images from which the ranges of the int8 form's activations are taken.
_CALIBRATION_IMAGES = 200


@dataclasses.dataclass(frozen=True)
class ExportResult:
    """What `export` wrote and found; accepted wherever a path is.

    Attributes:
        path: Directory that was written.
        comparison: DataFrame of the run and each form, see `export_parity.compare`: `form`, `images`, `difference` and,
            with labels, `auc`, `drop`, `drop_low` and `drop_high`; None without records. With patient context, the form
            `patient` is the SavedModel's signature of that name, compared with the run on the images of some patients.

    Examples:
        >>> os.path.join(ExportResult("exported/b0"), "model_card.md")
        'exported/b0/model_card.md'
    """

    path: str
    comparison: pd.DataFrame | None = None

    def __fspath__(self) -> str:
        """Returns the path of the directory."""
        return self.path


@dataclasses.dataclass(frozen=True)
class _Job:
    """What is exported, where to, and what it is compared on."""

    models: Sequence[tf.keras.Model]  # of a SavedModel with their patient-context heads
    image_size: int  # pixels
    fields: str  # see `clinical_metadata.parse`
    rows: pd.DataFrame | None  # see `exported_predictions.read_rows`; None for no comparison
    threads: int
    directory: str
    classes: targets.ClassSet = targets.BINARY
    parts: run_parts.RunParts = run_parts.NOTHING


@output_lock.locking("output")
def export(config: ExportConfig) -> ExportResult:
    """Exports a run as one model with its model card; with records, compares the model with the run.

    Args:
        config: What to export, and how.

    Returns:
        `ExportResult`: the path of the directory, and the comparison of the model with the run.

    Raises:
        ConfigError: The output exists, another process writes it, the fold is not trained, a package is missing, or the
            patient-context model is of several runs.
        CorruptRecordError: The flags, the metrics or the weights of the run, or a shard, are damaged.
        IsicError: The run has no trained fold, or the records or labels do not fit.

    Examples:
        >>> result = export(ExportConfig(workdir="runs/b0", output="exported/b0", records="t*.tfrec"))  # doctest: +SKIP
        >>> result.path, result.comparison["difference"].max()  # doctest: +SKIP
        ('exported/b0', 1.8e-07)
    """
    refuse_existing(config.output)
    if config.format == "onnx":
        onnx_model.require_packages()
    paths = run_directory.trained_folds(config.workdir, config.fold)
    run = run_directory.read_network(config.workdir)
    fields = run.get("metadata", "")
    stage = context_stage.read_stage(config.context) if config.context else None
    if stage:
        graph_context.check_stage(stage)
    model_config = read_model_config(config.workdir, run)
    classes = model_config.class_set
    rows = None
    if config.records:
        with_patients = bool(stage) or run.get("context") == "set"
        rows = _read_rows(config, config.records, patient_signature.join_fields(fields, stage), with_patients)
    models = [classifiers.build_from_config(model_config, path) for path in paths]
    _LOG.info(f"{run['backbone']} at {run['image_size']} px, {len(paths)} fold(s)")
    parts = run_parts.NOTHING
    if config.format == "saved_model":
        parts = run_parts.read_parts(config.workdir, paths, run, classes, config.tta, stage)
    else:
        models = [patient_context_head.image_level_model(model) for model in models]
    _log_limits(run, config.format, parts)
    with _replaced_directory(config.output) as directory:
        job = _Job(
            models, run["image_size"], fields, rows, config.threads or cpu.count_cores(), directory, classes, parts
        )
        sizes = _write_models(job, config)
        table = _compare_with_run(job, list(sizes))
        lines = export_parity.tabulate(sizes, table)
        images = 0 if rows is None else len(rows)
        facts = model_card.collect(
            config.workdir, paths, models[0].count_params(), run, config.format, lines, images, parts
        )
        model_card.write(directory, facts)
    _LOG.info(text_report.align(f"Compared with the run on {images} records" if images else "Not compared", lines))
    _LOG.info(f"wrote {config.output}")
    return ExportResult(config.output, table)


def _read_rows(config: ExportConfig, records: str, fields: str, with_patients: bool) -> pd.DataFrame:
    """Lists the records for the comparison, with all metadata that are used."""
    numeric = clinical_metadata.parse_numeric(fields)
    clinical_metadata.check_table(config.table, numeric)
    columns = clinical_metadata.columns(fields)
    rows = exported_predictions.read_rows(records, config.labels, columns, with_patients)
    return clinical_metadata.add_values(rows, config.table, numeric)


def _log_limits(run: Mapping[str, Any], format: str, parts: run_parts.RunParts) -> None:
    """Logs what the run does and the exported model does not."""
    preprocessing = model_card.describe_preprocessing(run)
    if format != "saved_model" and preprocessing not in ("", _NO_PREPROCESSING):
        _LOG.warning(
            f"note: the records of the run were built with {preprocessing}; a client must preprocess its images in the "
            "same way, see the model card"
        )
    if run.get("context") == "set":
        others = "its other signatures predict" if format == "saved_model" else "the exported model predicts"
        patient = "the signature patient predicts a patient's images together; " if format == "saved_model" else ""
        _LOG.warning(f"note: {patient}{others} single images, without the patient context of the run")
    problem = calibration_file.describe_versions(parts.calibration, parts.versions) if parts.calibration else ""
    if problem:
        _LOG.warning(f"note: {problem}")


@contextlib.contextmanager
def _replaced_directory(path: str) -> Iterator[str]:
    """Yields a temporary directory that becomes `path` when the block ends, and is removed when it fails."""
    path = path.rstrip("/")
    parent, name = os.path.split(path)
    temporary = os.path.join(parent, temporary_files.make_name(name))
    with filesystem.explained_write_errors(path):
        filesystem.makedirs(temporary)
    try:
        yield temporary
        filesystem.rmtree(path)
        filesystem.replace(temporary, path)
    except BaseException as error:
        filesystem.rmtree(temporary)
        if disk_space.is_full_disk(error):
            raise filesystem.make_full_disk_error(path) from error
        raise


def _write_models(job: _Job, config: ExportConfig) -> dict[str, float]:
    """Writes the model in each form, and returns the sizes in MB by form."""
    if config.format == "saved_model":
        size = saved_model.save(job.models, job.image_size, job.fields, job.directory, job.classes, job.parts)
        return {"saved_model": size}
    if config.format == "onnx":
        content = onnx_model.convert(job.models, job.image_size, job.fields, job.classes)
        return {"onnx": _write_file(os.path.join(job.directory, onnx_model.FILE), content)}
    return {form: _write_lite(job, form) for form in config.quantize}


def _write_file(path: str, content: bytes) -> float:
    """Writes a file, and returns its size in MB."""
    with filesystem.open(path, "wb") as file:
        file.write(content)
    return len(content) / 1e6


def _lite_file(directory: str, form: str) -> str:
    return os.path.join(directory, f"model_{form}.tflite")


def _write_lite(job: _Job, form: str) -> float:
    """Writes the TensorFlow Lite file of a form, and returns its size in MB."""
    samples: list[tflite.Sample] = []
    if form == "int8" and job.rows is not None:
        # Evenly spaced over all records.
        positions = np.unique(np.linspace(0, len(job.rows) - 1, _CALIBRATION_IMAGES).astype(int))
        samples = list(exported_predictions.read_images(job.rows.iloc[positions], job.image_size, job.fields))
    content = tflite.convert(job.models, job.image_size, job.fields, form, samples, job.classes)
    return _write_file(_lite_file(job.directory, form), content)


def _compare_with_run(job: _Job, forms: Sequence[str]) -> pd.DataFrame | None:
    """Predicts the records with the run and with each form; returns `export_parity.compare`, None without records."""
    if job.rows is None:
        return None
    rows, size, threads = job.rows, job.image_size, job.threads
    reference = exported_predictions.predict_run(
        job.models, rows, size, job.fields, threads, job.classes, job.parts.versions
    )
    found = {}
    for form in forms:
        if form == "saved_model":
            found[form] = exported_predictions.predict_saved_model(job.directory, rows, size, job.fields)
        elif form == "onnx":
            content = filesystem.read(os.path.join(job.directory, onnx_model.FILE))
            found[form] = exported_predictions.predict_onnx(content, rows, size, job.fields, threads)
        else:
            content = filesystem.read(_lite_file(job.directory, form))
            found[form] = exported_predictions.predict_lite(content, rows, size, job.fields, threads, form)
    table = export_parity.compare(rows, reference, found)
    if "saved_model" in forms and (job.parts.stage or patient_context_head.find_context_layer(job.models[0])):
        of_patients = patient_predictions.compare(
            job.models, rows, size, job.fields, threads, job.classes, job.parts, job.directory
        )
        table = pd.concat([table, of_patients], ignore_index=True)
    for fault in export_parity.find_faults(table):
        _LOG.warning(f"WARNING: {fault}")
    return table
