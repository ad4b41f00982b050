"""How near an exported model comes to the run that it is of, on real images."""

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.data import clinical_metadata, decoding, input_pipeline, label_tables, read_errors, record_metadata
from isic_tf.inference import predictor
from isic_tf.metrics import cluster_bootstrap, roc, summaries
from isic_tf.serving import tflite
from tfrecord_tools import errors, schema
from tfrecord_tools.io import record_index

# What rounding may do to a probability: between float32 programs of one network, and where it is meant.
TOLERANCES = {"saved_model": 1e-4, "float32": 1e-4, "float16": 0.01, "int8": 0.1}
# A fall of the ROC AUC that a model cannot have from rounding alone.
_FALL = 0.01
_BATCH = 32


def read_rows(records, labels, columns):
    """Lists the records to compare on.

    Args:
        records: Glob pattern of shards, or several separated by commas.
        labels: CSV file with `image_name`, `patient_id` and `target`; or None.
        columns: Columns of the schema that the networks see.

    Returns:
        DataFrame of `shard`, `position`, `image_name`, the columns and, with labels, `patient_id` and `target`; in file
        order.

    Raises:
        IsicError: No shard matches, one is corrupt, an image has no label, or there is one class only.
    """
    rows = record_metadata.list_records(record_index.match_shards(records), columns)
    if not labels:
        return rows
    table = label_tables.read_labels(labels)[["image_name", "patient_id", "target"]]
    unknown = rows.loc[~rows["image_name"].isin(table["image_name"]), "image_name"]
    if len(unknown):
        raise errors.IsicError(f"{len(unknown)} images of {records} have no label in {labels}, {unknown.iloc[0]} first")
    rows = rows.merge(table, on="image_name", validate="one_to_one")
    if rows["target"].nunique() < 2:
        raise errors.IsicError(
            f"the fall of the ROC AUC needs benign and malignant images, those of {records} are all alike"
        )
    return rows


def predict_run(models, rows, image_size, fields, threads):
    """Predicts records as `isic_tf.predict` does; gives float32 `[n]`."""
    known = clinical_metadata.encode(rows, fields) if fields else None
    options = {"image_size": image_size, "batch_size": _BATCH, "threads": threads, "known": known}
    batches = predictor.make_predictor(models, tf.distribute.get_strategy())(
        input_pipeline.make_eval_dataset(rows, **options)
    )
    return _collect((found for _, found in batches), rows, "the run")


def predict_saved_model(folder, rows, fields):
    """Predicts records' JPEG files with the SavedModel of a folder; gives float32 `[n]`."""
    predict, columns = tf.saved_model.load(folder).signatures["serving_default"], clinical_metadata.columns(fields)

    def batches():
        for start in range(0, len(rows), _BATCH):
            part = rows.iloc[start : start + _BATCH]
            values = {name: _as_values(name, part[name]) for name in columns}
            yield predict(image=tf.constant([next(files) for _ in part.index]), **values)["prediction"].numpy()

    files = _read_files(rows)
    return _collect(batches(), rows, "saved_model")


def _as_values(column, codes):
    """Turns codes into what a client gives: words, or years as they are."""
    if column not in schema.CATEGORIES:
        return tf.constant(codes, tf.int64)
    return tf.constant([(*schema.CATEGORIES[column], "")[code] for code in codes])


def predict_lite(content, rows, image_size, fields, threads, form):
    """Predicts records, decoded, with a TensorFlow Lite model; gives float32 `[n]`."""
    predict = tflite.make_predictor(content, fields, threads)
    found = ([predict(image, codes)] for image, codes in read_images(rows, image_size, fields))
    return _collect(found, rows, form)


def read_images(rows, image_size, fields):
    """Yields each record's image, uint8 `[S, S, 3]`, and its metadata's codes."""
    codes = rows[clinical_metadata.columns(fields)].to_numpy()
    for file, own in zip(_read_files(rows), codes, strict=True):
        yield decoding.decode(file, image_size).numpy(), own


def _read_files(rows):
    """Yields the records' JPEG files as bytes; the rows are in file order, without gaps at a shard's start."""
    for shard, part in rows.groupby("shard", sort=False):
        wanted = set(part["position"])
        with read_errors.explained_read_errors([shard]):
            for position, serialized in enumerate(decoding.read(shard).take(max(wanted) + 1)):
                if position in wanted:
                    yield decoding.parse(serialized, labelled=False)["image"].numpy()


def _collect(parts, rows, name):
    found = []
    with tqdm(total=len(rows), desc=name, unit="image", disable=None) as progress:
        for part in parts:
            found.append(np.asarray(part, np.float32))
            progress.update(len(found[-1]))
    return np.concatenate(found)


def compare(rows, reference, found):
    """Compares forms of a model with the run.

    Args:
        rows: See `read_rows`.
        reference: float32 `[n]`, see `predict_run`.
        found: Dict from a form's name to its predictions, float32 `[n]`.

    Returns:
        DataFrame, first the run, then a row a form: `form`, `images`, `difference` (the largest) and, with labels,
        `auc`, `drop` (of the ROC AUC from the run's) and `drop_low` and `drop_high`, its 95 % interval over patients
        who are resampled for both alike; NaN where too few have malignant images.
    """
    scores = np.stack([reference, *found.values()]).astype(np.float64)
    table = pd.DataFrame({"form": ["run", *found], "images": len(rows)})
    table["difference"] = np.abs(scores - scores[0]).max(axis=1)
    if "target" in rows:
        targets = rows["target"].to_numpy()
        table["auc"] = [roc.roc_auc(targets, row) for row in scores]
        table["drop"] = table["auc"].iloc[0] - table["auc"]
        resamples, figures = cluster_bootstrap.affordable(targets, 1000), {"auc": cluster_bootstrap.roc_auc}
        resampled = cluster_bootstrap.resample(targets, scores, summaries.group_by_patient(rows), figures, resamples)[
            "auc"
        ]
        ends = [cluster_bootstrap.interval(resampled[0] - row) for row in resampled]
        table[["drop_low", "drop_high"]] = np.array(ends, np.float64)
    return table


def find_faults(table):
    """Says of each form of a model what is too far from the run; see `compare`.

    Returns:
        List of texts.
    """
    faults = []
    for row in table.iloc[1:].to_dict("records"):
        form, most = row["form"], TOLERANCES[row["form"]]
        if row["difference"] > most:
            faults.append(
                f"{form} differs from the run by up to {row['difference']:.1e} in a probability, over {most:g}"
            )
        if row.get("drop", 0) > _FALL:
            faults.append(f"the ROC AUC of {form} is {row['drop']:.4f} below the run's, over {_FALL:g}")
    return faults


def tabulate(sizes, table=None):
    """Lays a comparison out as text.

    Args:
        sizes: Dict from a form's name to its size in MB.
        table: See `compare`; or None.

    Returns:
        List of rows, each a list of texts: headings, and a row a form.
    """
    if table is None:
        table = pd.DataFrame({"form": list(sizes)})
    columns = {"form": list(table["form"])}
    columns["size, MB"] = [f"{sizes[form]:.1f}" if form in sizes else "" for form in table["form"]]
    if "difference" in table:
        columns["largest difference"] = [f"{value:.1e}" for value in table["difference"]]
    if "auc" in table:
        columns["ROC AUC"] = [f"{value:.4f}" for value in table["auc"]]
        columns["fall"] = [f"{value:.4f}" for value in table["drop"]]
        pairs = zip(table["drop_low"], table["drop_high"], strict=True)
        columns["95 % interval of the fall"] = [
            f"{low:.4f} to {high:.4f}" if np.isfinite(low) else "too few patients" for low, high in pairs
        ]
    return [list(columns), *(list(row) for row in zip(*columns.values(), strict=True))]
