"""Predicts real images with a run and with the models exported from it."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.data import (
    clinical_metadata,
    decoding,
    input_pipeline,
    label_tables,
    read_errors,
    record_metadata,
    targets,
)
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.serving import graph_metadata, onnx_model, tflite
from tfrecord_tools import errors
from tfrecord_tools.io import name_join, record_index, temporary_files

_BATCH = 32


def read_rows(records: str, labels: str | None, columns: Sequence[str], with_patients: bool = False) -> pd.DataFrame:
    """Lists the records for the comparison.

    Args:
        records: Glob pattern of shards, or several separated by commas.
        labels: CSV file with `image_name`, `patient_id` and `target`; None to compare predictions only.
        columns: Columns of the schema that the networks use.
        with_patients: Whether the patients are read without labels too, from the indexes or the records.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, the columns and, with labels, `patient_id` and `target`; in file
        order. With patients, `patient_id` is "" where it is unknown.

    Raises:
        IsicError: No shard matches, one is corrupt, an image has no label, or all labels are of one class.
    """
    read = [*columns, "patient_id"] if with_patients and not labels else columns
    rows = record_metadata.list_records(record_index.match_shards(records), read)
    if not labels:
        if not with_patients:
            return rows
        coded = rows.rename(columns={"patient_id": "patient_code"})
        return record_metadata.add_patients(record_metadata.add_index(coded))
    table = label_tables.read_labels(labels)[["image_name", "patient_id", "target"]]
    places = name_join.find_rows(rows["image_name"], table["image_name"], labels)
    unlabeled = rows.loc[places < 0, "image_name"]
    if len(unlabeled):
        raise errors.IsicError(
            f"{len(unlabeled)} images of {records} have no label in {labels} (first: {unlabeled.iloc[0]}); add their "
            "labels, or name other shards"
        )
    known = table.iloc[places].reset_index(drop=True)
    rows = rows.reset_index(drop=True).assign(patient_id=known["patient_id"], target=known["target"])
    if rows["target"].nunique() < 2:
        raise errors.IsicError(
            f"the loss of ROC AUC needs benign and malignant images, but those of {records} are all of one class; name "
            "more shards, or leave out --labels"
        )
    return rows


def predict_run(
    models: Sequence[tf.keras.Model],
    rows: pd.DataFrame,
    image_size: int,
    fields: str,
    threads: int,
    classes: targets.ClassSet = targets.BINARY,
    versions: int = 1,
) -> np.ndarray:
    """Predicts records as `isic_tf.predict` does.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        rows: See `read_rows`.
        image_size: Side of the images in pixels.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads that decode images.
        classes: The classes that the classifiers predict.
        versions: Symmetries of a square whose probabilities are averaged, 1 to 8.

    Returns:
        Mean probabilities of the models, float32 `[n]`; of several classes scores `[n, 1 + classes]`.
    """
    batches = run_networks(models, rows, image_size, fields, threads, classes, versions)
    return collect((found for _, found in batches), rows, "the run")


def run_networks(
    models: Sequence[tf.keras.Model],
    rows: pd.DataFrame,
    image_size: int,
    fields: str,
    threads: int,
    classes: targets.ClassSet = targets.BINARY,
    versions: int = 1,
    embed: str = "",
) -> Iterator[tuple[Any, ...]]:
    """Runs the networks on records.

    Args:
        models: See `predict_run`.
        rows: See `predict_run`.
        image_size: See `predict_run`.
        fields: See `predict_run`.
        threads: See `predict_run`.
        classes: See `predict_run`.
        versions: See `predict_run`.
        embed: See `predictor.make_predictor`.

    Returns:
        Iterator over batches, see `predictor.make_predictor`.
    """
    metadata = clinical_metadata.encode(rows, fields) if fields else None
    dataset = input_pipeline.make_eval_dataset(
        rows, image_size=image_size, batch_size=_BATCH, threads=threads, metadata=metadata
    )
    view = test_time_augmentation.make_views(versions, "dihedral", {}, seed=0) if versions > 1 else None
    strategy = tf.distribute.get_strategy()
    return predictor.make_predictor(models, strategy, view, versions, embed, classes)(dataset)


def predict_saved_model(directory: str, rows: pd.DataFrame, image_size: int, fields: str) -> np.ndarray:
    """Predicts the decoded images of records with the signature `pixels` of a SavedModel.

    Its signature for files would prepare once more what was trimmed or corrected when the records were built.

    Args:
        directory: Directory of the SavedModel.
        rows: See `read_rows`.
        image_size: Side of the images in pixels.
        fields: See `clinical_metadata.parse`.

    Returns:
        Probabilities, float32 `[n]`, or scores, see `predict_run`.
    """
    with temporary_files.without_wildcards(directory) as path:
        predict = tf.saved_model.load(path).signatures["pixels"]
    values = graph_metadata.list_values(rows, graph_metadata.list_signature(fields), fields)
    images = (image for image, _ in read_images(rows, image_size, fields))

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, len(rows), _BATCH):
            own = {name: column[start : start + _BATCH] for name, column in values.items()}
            found = predict(pixels=tf.constant(np.stack(list(itertools.islice(images, _BATCH)))), **own)
            single = found["prediction"].numpy()
            has_classes = "probabilities" in found
            yield np.column_stack([single, found["probabilities"].numpy()]) if has_classes else single

    return collect(batches(), rows, "saved_model")


def predict_lite(
    content: bytes, rows: pd.DataFrame, image_size: int, fields: str, threads: int, form: str
) -> np.ndarray:
    """Predicts the decoded images of records with a TensorFlow Lite model.

    Args:
        content: Bytes of a `.tflite` file, see `tflite.convert`.
        rows: See `read_rows`.
        image_size: Side of the images in pixels.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads of the interpreter.
        form: Name of the form, for the progress bar.

    Returns:
        Probabilities, float32 `[n]`, or scores, see `predict_run`.
    """
    predict = tflite.make_predictor(content, fields, threads)
    predictions = (np.array([predict(image, codes)]) for image, codes in read_images(rows, image_size, fields))
    return collect(predictions, rows, form)


def predict_onnx(content: bytes, rows: pd.DataFrame, image_size: int, fields: str, threads: int) -> np.ndarray:
    """Predicts the decoded images of records with an ONNX model.

    Args:
        content: Bytes of an `.onnx` file, see `onnx_model.convert`.
        rows: See `read_rows`.
        image_size: Side of the images in pixels.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads of ONNX Runtime.

    Returns:
        Probabilities, float32 `[n]`, or scores, see `predict_run`.
    """
    predict = onnx_model.make_predictor(content, fields, threads)
    samples = read_images(rows, image_size, fields)

    def batches() -> Iterator[np.ndarray]:
        while batch := list(itertools.islice(samples, _BATCH)):
            images, codes = zip(*batch, strict=True)
            yield predict(np.stack(images), np.stack(codes))

    return collect(batches(), rows, "onnx")


def read_images(rows: pd.DataFrame, image_size: int, fields: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the image of each record, uint8 `[S, S, 3]`, and its codes, a number for each of `tflite.list_inputs`."""
    codes = rows[clinical_metadata.columns(fields)].to_numpy()
    numeric = clinical_metadata.parse_numeric(fields)
    if numeric:
        numbers = clinical_metadata.select_values(rows, numeric)
        codes = np.concatenate([codes, np.nan_to_num(numbers), np.isnan(numbers)], axis=1)
    with read_errors.explained_read_errors(list(rows["shard"].unique())):
        for file, own in zip(_read_files(rows), codes, strict=True):
            yield decoding.decode(file, image_size).numpy(), own


def _read_files(rows: pd.DataFrame) -> Iterator[bytes]:
    """Yields the JPEG files of the records; the rows are in file order."""
    for shard, part in rows.groupby("shard", sort=False):
        wanted = set(part["position"])
        with read_errors.explained_read_errors([shard]):
            for position, serialized in enumerate(decoding.read(shard).take(max(wanted) + 1)):
                if position in wanted:
                    yield decoding.parse(serialized, labeled=False)["image"].numpy()


def collect(parts: Iterable[np.ndarray], rows: pd.DataFrame, name: str) -> np.ndarray:
    """Joins the predictions of batches, with a progress bar; an image that cannot be decoded is named.

    Args:
        parts: Arrays `[b, ...]`.
        rows: See `read_rows`.
        name: What predicts, for the progress bar.

    Returns:
        float32 `[n, ...]`.
    """
    found = []
    explained = read_errors.explained_read_errors(list(rows["shard"].unique()))
    with explained, tqdm(total=len(rows), desc=name, unit="image", disable=None) as progress:
        for part in parts:
            found.append(np.asarray(part, np.float32))
            progress.update(len(found[-1]))
    return np.concatenate(found)
