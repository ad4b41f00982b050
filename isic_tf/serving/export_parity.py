"""Compares an exported model with its run on real images."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

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
from isic_tf.inference import predictor
from isic_tf.metrics import cluster_bootstrap, roc, summaries
from isic_tf.serving import saved_model, tflite
from tfrecord_tools import errors, schema
from tfrecord_tools.io import name_join, record_index, temporary_files

# Largest difference of a probability that rounding explains: between float32 programs of one network, or as intended.
TOLERANCES = {"saved_model": 1e-4, "float32": 1e-4, "float16": 0.01, "int8": 0.1}
# Largest loss of ROC AUC that rounding explains.
_MAX_LOSS = 0.01
_BATCH = 32
_NO_INTERVAL = f"no interval: fewer than {cluster_bootstrap.MIN_PATIENTS} patients of a class"


def read_rows(records: str, labels: str | None, columns: Sequence[str]) -> pd.DataFrame:
    """Lists the records for the comparison.

    Args:
        records: Glob pattern of shards, or several separated by commas.
        labels: CSV file with `image_name`, `patient_id` and `target`; None to compare predictions only.
        columns: Columns of the schema that the networks use.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, the columns and, with labels, `patient_id` and `target`; in file
        order.

    Raises:
        IsicError: No shard matches, one is corrupt, an image has no label, or all labels are of one class.
    """
    rows = record_metadata.list_records(record_index.match_shards(records), columns)
    if not labels:
        return rows
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
) -> np.ndarray:
    """Predicts records as `isic_tf.predict` does.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        rows: See `read_rows`.
        image_size: Side of the images in pixels.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads that decode images.
        classes: The classes that the classifiers predict.

    Returns:
        Mean probabilities of the models, float32 `[n]`; of several classes scores `[n, 1 + classes]`.
    """
    metadata = clinical_metadata.encode(rows, fields) if fields else None
    dataset = input_pipeline.make_eval_dataset(
        rows, image_size=image_size, batch_size=_BATCH, threads=threads, metadata=metadata
    )
    batches = predictor.make_predictor(models, tf.distribute.get_strategy(), classes=classes)(dataset)
    return _collect((found for _, found in batches), rows, "the run")


def predict_saved_model(directory: str, rows: pd.DataFrame, fields: str) -> np.ndarray:
    """Predicts the JPEG files of records with a SavedModel.

    Args:
        directory: Directory of the SavedModel.
        rows: See `read_rows`.
        fields: See `clinical_metadata.parse`.

    Returns:
        Probabilities, float32 `[n]`, or scores, see `predict_run`.
    """
    with temporary_files.without_wildcards(directory) as path:
        predict = tf.saved_model.load(path).signatures["serving_default"]
    columns = clinical_metadata.columns(fields)
    files = _read_files(rows)

    def batches() -> Iterator[np.ndarray]:
        for start in range(0, len(rows), _BATCH):
            part = rows.iloc[start : start + _BATCH]
            values = {name: _as_values(name, part[name]) for name in columns}
            numbers = clinical_metadata.select_values(part, clinical_metadata.parse_numeric(fields))
            numeric = saved_model.list_inputs(fields)
            values |= {name: tf.constant(own, tf.float32) for name, own in zip(numeric, numbers.T, strict=True)}
            found = predict(image=tf.constant([next(files) for _ in part.index]), **values)
            single = found["prediction"].numpy()
            has_classes = "probabilities" in found
            yield np.column_stack([single, found["probabilities"].numpy()]) if has_classes else single

    return _collect(batches(), rows, "saved_model")


def _as_values(column: str, codes: pd.Series) -> tf.Tensor:
    """Converts codes to the values that a client sends: words, or years as they are."""
    if column not in schema.CATEGORIES:
        return tf.constant(codes, tf.int64)
    return tf.constant([(*schema.CATEGORIES[column], "")[code] for code in codes])


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
    return _collect(predictions, rows, form)


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


def _collect(parts: Iterable[np.ndarray], rows: pd.DataFrame, name: str) -> np.ndarray:
    """Joins the predictions of batches, with a progress bar; an image that cannot be decoded is named."""
    found = []
    explained = read_errors.explained_read_errors(list(rows["shard"].unique()))
    with explained, tqdm(total=len(rows), desc=name, unit="image", disable=None) as progress:
        for part in parts:
            found.append(np.asarray(part, np.float32))
            progress.update(len(found[-1]))
    return np.concatenate(found)


def compare(rows: pd.DataFrame, reference: np.ndarray, found: Mapping[str, np.ndarray]) -> pd.DataFrame:
    """Compares forms of a model with the run.

    Args:
        rows: See `read_rows`.
        reference: float32 `[n]` or `[n, 1 + classes]`, see `predict_run`.
        found: Dict from the name of a form to its predictions, of the same shape.

    Returns:
        DataFrame of the run, then one row per form: `form`, `images`, `difference` (the largest of a probability, of
        any class) and, with labels, `auc`, `drop` (loss of ROC AUC), and `drop_low` and `drop_high`, its 95 % interval
        over patients that are resampled for both alike; NaN where there are too few patients, see
        `cluster_bootstrap.describe_too_few`.
    """
    scores = np.stack([reference, *found.values()]).astype(np.float64)
    table = pd.DataFrame({"form": ["run", *found], "images": len(rows)})
    table["difference"] = np.abs(scores - scores[0]).reshape(len(scores), -1).max(axis=1)
    if scores.ndim > 2:
        scores = scores[..., 0]
    if "target" not in rows:
        return table
    malignant = rows["target"].to_numpy()
    table["auc"] = [roc.roc_auc(malignant, row) for row in scores]
    table["drop"] = table["auc"].iloc[0] - table["auc"]
    resampled = cluster_bootstrap.resample(
        malignant,
        scores,
        summaries.group_by_patient(rows),
        {"auc": cluster_bootstrap.roc_auc},
        cluster_bootstrap.affordable(malignant, 1000),
    )["auc"]
    intervals = [cluster_bootstrap.interval(resampled[0] - row) for row in resampled]
    table[["drop_low", "drop_high"]] = np.array(intervals, np.float64)
    return table


def find_faults(table: pd.DataFrame) -> list[str]:
    """Describes the forms that differ from the run by more than rounding explains.

    Args:
        table: See `compare`.

    Returns:
        List of texts, empty where all forms are close enough.
    """
    faults = []
    for row in table.iloc[1:].to_dict("records"):
        form = row["form"]
        if row["difference"] > TOLERANCES[form]:
            faults.append(
                f"a probability of {form} differs from the run by up to {row['difference']:.1e}, more than "
                f"{TOLERANCES[form]:g}"
            )
        if row.get("drop", 0) > _MAX_LOSS:
            faults.append(f"the ROC AUC of {form} is {row['drop']:.4f} below that of the run, more than {_MAX_LOSS:g}")
    return faults


def tabulate(sizes: Mapping[str, float], table: pd.DataFrame | None = None) -> list[list[str]]:
    """Formats a comparison as text.

    Args:
        sizes: Dict from the name of a form to its size in MB.
        table: See `compare`; None where nothing was compared.

    Returns:
        Rows of cells: the headings, then one row per form.
    """
    if table is None:
        table = pd.DataFrame({"form": list(sizes)})
    columns = {
        "form": list(table["form"]),
        "size, MB": [f"{sizes[form]:.1f}" if form in sizes else "" for form in table["form"]],
    }
    if "difference" in table:
        columns["largest difference"] = [f"{value:.1e}" for value in table["difference"]]
    if "auc" in table:
        columns["ROC AUC"] = [f"{value:.4f}" for value in table["auc"]]
        columns["loss"] = [f"{value:.4f}" for value in table["drop"]]
        intervals = zip(table["drop_low"], table["drop_high"], strict=True)
        columns["95 % interval of the loss"] = [
            f"{low:.4f} to {high:.4f}" if np.isfinite(low) else _NO_INTERVAL for low, high in intervals
        ]
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]
