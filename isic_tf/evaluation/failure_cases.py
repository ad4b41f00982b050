"""Finds the worst errors, and shows them with the Grad-CAM maps of the run's networks."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, record_metadata
from isic_tf.distribution import cpu
from isic_tf.visualization import grad_cam, record_images

# Side of a thumbnail in pixels.
SIDE = 184
# Side of the decoded images where there is no run whose networks have an image size.
_IMAGE_SIZE = 256
_QUALITY = 82
_LOCATION_COLUMNS = ["shard", "position", "image_name"]
_METADATA_FORMATS = {
    "sex": "{}",
    "age_approx": "{} years",
    "anatom_site_general_challenge": "{}",
    "diagnosis": "{}",
}
# Predictions of the same networks differ less, however they were computed.
_SAME_PREDICTION = 0.005
_NO_PICTURE: dict[str, Any] = {"image": None, "map": None, "probability": None, "seen": None}


def find(table: pd.DataFrame, threshold: float | None, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Finds the worst false negatives and false positives.

    Args:
        table: DataFrame with `image_name`, `target` and `prediction`.
        threshold: Prediction from which an image is called malignant; None to call none malignant.
        count: Maximum number of each.

    Returns:
        Two DataFrames, rows of the table: malignant images from the lowest prediction up, and benign ones from the
        highest down.
    """
    ordered = table.sort_values(["prediction", "image_name"])
    called_malignant = ordered["prediction"] >= (np.inf if threshold is None else threshold)
    malignant = ordered["target"] == 1
    missed = ordered[malignant & ~called_malignant].head(count)
    alarms = ordered[~malignant & called_malignant].iloc[::-1].head(count)
    return missed, alarms


def describe(rows: pd.DataFrame, pictures: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Describes images for the report.

    Args:
        rows: See `find`; known values of the further columns of metadata are included.
        pictures: See `load_pictures`.

    Returns:
        List of dicts of `image_name`, `patient_id`, `prediction`, `said` (the metadata, as text), the values of
        `pictures` (None where there is no picture), and `differs`: whether the networks' probability differs from the
        prediction.
    """
    return [_describe_row(row, pictures.get(row["image_name"], _NO_PICTURE)) for row in rows.to_dict("records")]


def _describe_row(row: Mapping[str, Any], picture: Mapping[str, Any]) -> dict[str, Any]:
    known = {name: text for name, text in _METADATA_FORMATS.items() if str(row.get(name, "")) not in ("", "unknown")}
    said = ", ".join(text.format(row[name]) for name, text in known.items())
    probability = picture["probability"]
    return {
        "image_name": row["image_name"],
        "patient_id": row["patient_id"],
        "prediction": row["prediction"],
        "said": said.replace(".0 years", " years"),
        **picture,
        "differs": probability is not None and abs(probability - row["prediction"]) > _SAME_PREDICTION,
    }


def load_pictures(
    names: Sequence[str], workdir: str | None, records: pd.DataFrame | None, numbers: str | None = None
) -> dict[str, dict[str, Any]]:
    """Loads and explains images.

    Args:
        names: Names of images.
        workdir: Run directory whose networks explain them; None for none.
        records: DataFrame of records that hold some of them, see `joined_tables.read_records`; None for none.
        numbers: CSV file with the numeric columns that the networks use; None for none.

    Returns:
        Dict from name to a dict of `image` and `map` (`data:` URLs of JPEG files), `probability` (of the networks, see
        `grad_cam.explain_rows`) and `seen` (whether the image was, or may have been, a training image of all of them);
        the last three are None without a run. Images that the records lack are left out.

    Raises:
        IsicError: A shard is corrupt, or there is no trained fold.
    """
    rows = None if records is None else records.loc[records["image_name"].isin(names), _LOCATION_COLUMNS]
    if rows is None or rows.empty:
        return {}
    if not workdir:
        images = record_images.load_images(rows, _IMAGE_SIZE)
        pairs = zip(rows["image_name"], images, strict=True)
        return {name: {**_NO_PICTURE, "image": encode(image)} for name, image in pairs}
    fields = run_directory.read_flags(workdir).get("metadata", "")
    rows = record_metadata.add_columns(rows, clinical_metadata.columns(fields), cpu.count_cores())
    rows = clinical_metadata.add_values(rows, numbers, clinical_metadata.parse_numeric(fields))
    found = grad_cam.explain_rows(workdir, rows)
    overlays = grad_cam.overlay(found.images, found.maps)
    pictures = {}
    for place, name in enumerate(rows["image_name"]):
        pictures[name] = {
            "image": encode(found.images[place]),
            "map": encode(overlays[place]),
            "probability": float(found.probabilities[place]),
            "seen": bool(found.seen[place]),
        }
    return pictures


def encode(image: np.ndarray) -> str:
    """Encodes an image as the `data:` URL of a JPEG thumbnail.

    Args:
        image: RGB, uint8 `[S, S, 3]`.

    Returns:
        `data:image/jpeg;base64,` and the file.
    """
    method = "area" if image.shape[0] >= SIDE else "bicubic"
    small = tf.image.resize(image, [SIDE, SIDE], method).numpy().round().clip(0, 255).astype(np.uint8)
    jpeg = tf.io.encode_jpeg(small, quality=_QUALITY, optimize_size=True).numpy()
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
