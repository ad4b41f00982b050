"""Predicts the records of patients together, with a run and with the SavedModel exported from it."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf
from scipy import special
from tqdm import tqdm

from isic_tf.artifacts import person_numbers
from isic_tf.data import targets
from isic_tf.inference import context_stage, patient_bag_predictor
from isic_tf.models import patient_context_head
from isic_tf.patient_context.config import RELATIVE_METHODS
from isic_tf.patient_context.second_stage import Stage
from isic_tf.serving import export_parity, exported_predictions, graph_metadata, run_parts
from isic_tf.serving.patients import patient_signature
from tfrecord_tools.io import temporary_files

# Decoded images that are in memory at once.
_MOST_IMAGES = 500


def choose_patients(rows: pd.DataFrame) -> pd.DataFrame:
    """Chooses the patients that are compared, all of whose records are in memory at once.

    Args:
        rows: See `exported_predictions.read_rows`, with patients.

    Returns:
        The rows of the first patients that together have at most 500 images, in file order; at least one patient.
        `patient_id` is a key that no two patients share; an unknown patient has one image.

    Examples:
        >>> choose_patients(pd.DataFrame({"image_name": ["a", "b"], "patient_id": ["IP_1", ""]}))["patient_id"].tolist()
        ['ip_1', '0:b']
    """
    keys = person_numbers.with_keys(rows)["patient_key"]
    # No key of a patient begins like this, see `identity.person_key`.
    keys = keys.where(keys != "", "0:" + rows["image_name"])
    sizes = keys.value_counts(sort=False).reindex(keys.unique())
    total = sizes.cumsum()
    chosen = total.index[(total <= _MOST_IMAGES) | (total == sizes)]
    return rows.assign(patient_id=keys)[keys.isin(chosen)].reset_index(drop=True)


def predict_run(
    models: Sequence[tf.keras.Model],
    rows: pd.DataFrame,
    image_size: int,
    fields: str,
    threads: int,
    classes: targets.ClassSet,
    parts: run_parts.RunParts,
) -> np.ndarray:
    """Predicts the records of patients together as `isic_tf.predict` does.

    Args:
        models: See `exported_predictions.predict_run`.
        rows: See `choose_patients`.
        image_size: See `exported_predictions.predict_run`.
        fields: See `exported_predictions.predict_run`.
        threads: See `exported_predictions.predict_run`.
        classes: See `exported_predictions.predict_run`.
        parts: What the run has besides its networks.

    Returns:
        Float `[n]`, 0 to 1: what the patient-context model says or, without one, the patient-context heads.
    """
    has_heads = bool(patient_context_head.find_context_layer(models[0]))
    stage = parts.stage
    embed = patient_context_head.HEAD_INPUT if has_heads else "pooled" if stage and stage.uses_embeddings else ""
    batches = list(
        exported_predictions.run_networks(models, rows, image_size, fields, threads, classes, parts.versions, embed)
    )
    scores = np.concatenate([found for _, found, *_ in batches]).reshape(len(rows), -1)[:, 0]
    embeddings = np.concatenate([features[0] for _, _, *features in batches]) if embed else None
    if has_heads and embeddings is not None:
        scores = _correct(models, embeddings, rows["patient_id"].to_numpy())
        embeddings = embeddings[..., :-1]
    if not stage:
        return scores
    found = context_stage.apply_stage(stage, rows, scores, embeddings if stage.uses_embeddings else None)
    if stage.method in RELATIVE_METHODS and stage.lone_calibration is None:
        # Such a lesion has a place among all lesions, and a signature has one patient's only.
        found = np.where(rows["patient_id"].duplicated(keep=False), found, 0.5)
    return found


def _correct(models: Sequence[tf.keras.Model], seen: np.ndarray, patients: np.ndarray) -> np.ndarray:
    """Returns the mean of the scores that the heads give, float32 `[n]`."""
    correct = patient_bag_predictor.make_corrector(models[0])
    heads = [patient_context_head.find_context_layer(model) for model in models]
    logits = [
        correct(head.sets.get_weights(), seen[:, place], patients)
        for place, head in enumerate(heads)
        if head is not None
    ]
    return np.mean(special.expit(logits), axis=0)


def predict_saved_model(
    directory: str, rows: pd.DataFrame, image_size: int, fields: str, stage: Stage | None
) -> np.ndarray:
    """Predicts the decoded images of records with the signature `patient_pixels` of a SavedModel.

    Args:
        directory: Directory of the SavedModel.
        rows: See `choose_patients`.
        image_size: Side of the images in pixels.
        fields: See `clinical_metadata.parse`.
        stage: The patient-context model that it carries; None for none.

    Returns:
        float32 `[n]`, see `predict_run`.
    """
    with temporary_files.without_wildcards(directory) as path:
        predict = tf.saved_model.load(path).signatures["patient_pixels"]
    specs = patient_signature.list_signature(fields, stage)
    values = graph_metadata.list_values(rows, specs, patient_signature.join_fields(fields, stage))
    read = (image[np.newaxis] for image, _ in exported_predictions.read_images(rows, image_size, ""))
    images = np.concatenate(list(read))
    output = patient_signature.OUTPUT if stage else "prediction"
    found = np.zeros(len(rows), np.float32)
    for own in tqdm(list(rows.groupby("patient_id", sort=False).indices.values()), "patients", disable=None):
        chosen = {name: tf.gather(column, own) for name, column in values.items()}
        found[own] = predict(pixels=tf.constant(images[own]), **chosen)[output].numpy()
    return found


def compare(
    models: Sequence[tf.keras.Model],
    rows: pd.DataFrame,
    image_size: int,
    fields: str,
    threads: int,
    classes: targets.ClassSet,
    parts: run_parts.RunParts,
    directory: str,
) -> pd.DataFrame:
    """Compares a SavedModel with the run on the records of some patients.

    Args:
        models: See `predict_run`.
        rows: See `choose_patients`.
        image_size: See `predict_run`.
        fields: See `predict_run`.
        threads: See `predict_run`.
        classes: See `predict_run`.
        parts: See `predict_run`.
        directory: See `predict_saved_model`.

    Returns:
        One row of the table of `export_parity.compare`, of the form `patient`, without a ROC AUC: there are few images.
    """
    chosen = choose_patients(rows)
    reference = predict_run(models, chosen, image_size, fields, threads, classes, parts)
    found = predict_saved_model(directory, chosen, image_size, fields, parts.stage)
    return export_parity.compare(chosen[["image_name"]], reference, {"patient": found}).iloc[1:]
