"""Fits patient-context models on out-of-fold predictions, evaluates them, and applies them to prediction files."""

import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.artifacts import embedding_archive, prediction_files, prediction_sidecar, submission_format
from isic_tf.data import clinical_metadata, label_tables
from isic_tf.distribution import strategies
from isic_tf.metrics import logit
from isic_tf.patient_context import context_ablation, lesion_features, second_stage
from isic_tf.patient_context.config import ContextConfig, ContextFilesConfig
from isic_tf.postprocessing import ensemble_predictions, out_of_fold
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, csv_tables, filesystem, identity, name_join, output_lock
from tfrecord_tools.table_formats import table_files

_LOG = logging.getLogger(__name__)

_PERMUTATIONS = {"boost": 10, "set": 1}


def fit_context_model(oof: Sequence[str], metadata: str, config: ContextConfig | None = None) -> second_stage.Stage:
    """Fits a patient-context model on out-of-fold predictions.

    Args:
        oof: Out-of-fold prediction files of image-level models, such as the `oof.csv` of a run; one per model.
        metadata: CSV file with `image_name`, `patient_id`, `target` and, where known, `age_approx`, `sex` and
            `anatom_site_general_challenge`, and the numeric columns of `config`.
        config: How to fit; None for the defaults.

    Returns:
        `Stage`, see `save_stage` and `apply_context_model`.

    Raises:
        ConfigError: Options contradict each other.
        IsicError: A file is invalid, images do not match, or there are too few malignant images.

    Examples:
        >>> from isic_tf.patient_context import ContextConfig, fit_context_model, save_stage
        >>> stage = fit_context_model(["runs/b0/oof.csv"], "train.csv", ContextConfig(method="boost"))  # doctest: +SKIP
        >>> save_stage(stage, "runs/b0/context", figures={})  # doctest: +SKIP
    """
    config = config or ContextConfig()
    known, lesions = _read_out_of_fold(oof, metadata, config)
    return second_stage.fit_stage(lesions, known.targets, _choose_options(config))


def evaluate_context_model(
    oof: Sequence[str], metadata: str, config: ContextConfig | None = None
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Evaluates a patient-context model on patients it was not fitted on.

    Args:
        oof: See `fit_context_model`.
        metadata: See `fit_context_model`.
        config: See `fit_context_model`.

    Returns:
        DataFrame of out-of-fold predictions: `image_name`, `prediction` (float64, from 0 to 1), `stage_one` (float64,
        the mean image-level score), `fold` and `target` (int64); and a dict of figures, see
        `context_ablation.evaluate_gain`.

    Raises:
        ConfigError: Options contradict each other.
        IsicError: A file is invalid, images do not match, or there are too few malignant images.

    Examples:
        >>> from isic_tf.patient_context import ContextConfig, evaluate_context_model
        >>> table, figures = evaluate_context_model(["runs/b0/oof.csv"], "train.csv")  # doctest: +SKIP
        >>> figures["context less metadata alone"]["difference"]  # doctest: +SKIP
        0.0121
    """
    config = config or ContextConfig()
    known, lesions = _read_out_of_fold(oof, metadata, config)
    return _evaluate(known, lesions, config, _choose_options(config))


def apply_context_model(
    stage: second_stage.Stage, predictions: Sequence[str], metadata: str, config: ContextConfig | None = None
) -> pd.DataFrame:
    """Applies a patient-context model to prediction files of other patients.

    Args:
        stage: See `fit_context_model` and `load_stage`.
        predictions: Prediction files or submissions of the same models, in the same order, as in the fit.
        metadata: CSV file with `image_name`, `patient_id` and, where known, `age_approx`, `sex` and
            `anatom_site_general_challenge`.
        config: Its `embeddings` and `join` are used; None for the defaults.

    Returns:
        DataFrame of `image_name`, `prediction` (float64, from 0 to 1) and `stage_one` (float64, the mean image-level
        score), in the order of the first file.

    Raises:
        ConfigError: The files are fewer or more than in the fit, or embeddings are missing.
        IsicError: A file is invalid, or images do not match.

    Examples:
        >>> from isic_tf.patient_context import apply_context_model, load_stage
        >>> stage = load_stage("runs/b0/context")  # doctest: +SKIP
        >>> table = apply_context_model(stage, ["test.csv"], "test_metadata.csv")  # doctest: +SKIP
    """
    config = config or ContextConfig()
    names, scores = ensemble_predictions.read_scores(predictions, config.join)
    return _apply(stage, names, scores, metadata, config)


def run_context(config: ContextFilesConfig) -> pd.DataFrame:
    """Fits a patient-context model and writes its out-of-fold predictions, or applies one to other patients.

    Args:
        config: What to read and write, and how to fit.

    Returns:
        The table that was written, see `evaluate_context_model` and `apply_context_model`; with `sample_submission` a
        submission. After a fit, its `attrs["evaluation"]` is the dict of figures that `evaluate_context_model` returns
        too, see `context_ablation.evaluate_gain`.

    Raises:
        ConfigError: Options contradict each other, or an output cannot be written.
        IsicError: A file is invalid, or images do not match.
    """
    _check_outputs(config)
    with output_lock.locked(config.output, None if config.predictions else config.model_dir):
        if config.predictions:
            return _apply_to_files(config, config.predictions)
        return _fit_and_write(config, config.oof or ())


def _check_outputs(config: ContextFilesConfig) -> None:
    """Checks, before anything is fitted, that the outputs can be written."""
    atomic_write.refuse_other_kinds(config.output)
    directory = config.model_dir
    if config.oof and directory and filesystem.exists(directory) and not filesystem.isdir(directory):
        raise errors.ConfigError(f"expected a directory as --model_dir, got {directory}, which is a file; name another")


def _choose_options(config: ContextConfig) -> second_stage.StageOptions:
    strategy = strategies.choose_strategy(config.strategy, config.tpu) if config.method == "set" else None
    return second_stage.StageOptions(config.method, not config.no_patient_context, config.seed, strategy)


def _read_out_of_fold(
    oof: Sequence[str], metadata: str, config: ContextConfig
) -> tuple[out_of_fold.OutOfFold, lesion_features.Lesions]:
    known = out_of_fold.read(oof, metadata, config.join)
    for note in known.notes:
        _LOG.warning(f"note: {note}")
    logits = logit.logits(known.scores)
    return known, read_lesions(known.names, logits, metadata, config.embeddings, config.columns)


def _evaluate(
    known: out_of_fold.OutOfFold,
    lesions: lesion_features.Lesions,
    config: ContextConfig,
    options: second_stage.StageOptions,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    count = config.permutations
    if count is None:
        count = _PERMUTATIONS.get(config.method, 0)
    predictions, figures = context_ablation.evaluate_gain(known, lesions, options, count)
    columns = {
        "image_name": known.names,
        "prediction": predictions,
        "stage_one": known.scores.mean(axis=1),
        "fold": known.folds,
        "target": known.targets,
    }
    return pd.DataFrame(columns), figures


def _fit_and_write(config: ContextFilesConfig, oof: Sequence[str]) -> pd.DataFrame:
    known, lesions = _read_out_of_fold(oof, config.metadata, config)
    options = _choose_options(config)
    table, figures = _evaluate(known, lesions, config, options)
    if config.model_dir:
        stage = second_stage.fit_stage(lesions, known.targets, options)
        second_stage.save_stage(stage, config.model_dir, figures)
        _LOG.info(f"wrote the patient-context model to {config.model_dir}; isic_tf.predict --context applies it")
    _write(table, config.output, config.method, options.patient_context, oof)
    table.attrs["evaluation"] = figures
    return table


def _apply_to_files(config: ContextFilesConfig, predictions: Sequence[str]) -> pd.DataFrame:
    stage = second_stage.load_stage(config.model_dir or "")
    names, scores = ensemble_predictions.read_scores(predictions, config.join)
    order = submission_format.match_sample(names, config.sample_submission) if config.sample_submission else None
    table = _apply(stage, names, scores, config.metadata, config)
    if order:
        table = table.set_index("image_name").loc[order, ["prediction"]].reset_index()
        table = table.rename(columns={"prediction": "target"})
    _write(table, config.output, stage.method, stage.patient_context, predictions)
    return table


def _apply(
    stage: second_stage.Stage, names: Sequence[str], scores: np.ndarray, metadata: str, config: ContextConfig
) -> pd.DataFrame:
    lesions = read_lesions(names, logit.logits(scores), metadata, config.embeddings, tuple(stage.numbers))
    predictions = second_stage.apply_stage(stage, lesions)
    return pd.DataFrame({"image_name": names, "prediction": predictions, "stage_one": scores.mean(axis=1)})


def _write(table: pd.DataFrame, output: str, method: str, patient_context: bool, sources: Sequence[str]) -> None:
    """Writes a prediction file; its sidecar states whether other images of the patients were used."""
    # The image-level models may have used them too.
    used = patient_context or prediction_sidecar.used_patient_context(sources)
    prediction_files.write_predictions(output, table, patient_context=used, made_by="isic_tf.context", method=method)
    if used is None:
        _LOG.info(
            "no other image of a patient was used here; a sidecar is missing that states whether the image-level "
            "models used any"
        )
    elif used:
        _LOG.info("other images of the patients were used")
    else:
        _LOG.info("no other image of a patient was used")


def read_lesions(
    names: Sequence[str],
    logits: np.ndarray,
    metadata: str,
    embeddings: str | os.PathLike[str] | None = None,
    columns: Sequence[str] = (),
) -> lesion_features.Lesions:
    """Reads what is known of images, in their order.

    Args:
        names: Names of the images, `[n]`.
        logits: Float `[n, files]`.
        metadata: See `apply_context_model`.
        embeddings: NumPy archive, see `embedding_archive.read_embeddings`, or None.
        columns: Names of numeric columns of the table.

    Returns:
        `lesion_features.Lesions`.

    Raises:
        IsicError: An image is missing from the table or the archive, or the table lacks a column or numbers in it.
    """
    table = table_files.read_tables(metadata, ("image_name", "patient_id"), keep_unlabeled=True)
    csv_tables.refuse_repeats(metadata, table, "hold")
    places = name_join.find_rows(names, table["image_name"], metadata)
    name_join.refuse_empty_join(places, names, table["image_name"], f"the predictions and {metadata}")
    is_missing = places < 0
    if is_missing.any():
        first = names[int(np.argmax(is_missing))]
        raise errors.IsicError(f"{is_missing.sum()} images are not in {metadata} (first: {first}); check --metadata")
    others = table["image_name"].drop(table.index[places])
    name_join.settle_missing(
        others, f"images of {metadata} have no prediction, so they are no context of others", "predict them", True
    )
    rows = table.iloc[places].reset_index(drop=True)
    absent = [name for name in lesion_features.COLUMNS if name not in rows or (rows[name] == "").all()]
    if absent:
        _LOG.warning(f"note: {metadata} has no {', '.join(absent)}; predicting without")
    for name in set(lesion_features.COLUMNS) & set(rows):
        rows[name] = label_tables.encode_columns(metadata, name, rows[name])
    features = embedding_archive.read_embeddings(os.fspath(embeddings), names) if embeddings else None
    numbers = clinical_metadata.parse_columns(metadata, rows, columns)
    return lesion_features.gather(logits, identity.person_keys(rows["patient_id"]), rows, features, numbers)
