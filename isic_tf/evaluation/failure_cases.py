"""The images on which predictions fail worst, with what the run's networks saw in them."""

import base64

import numpy as np
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, record_metadata
from isic_tf.distribution import cpu
from isic_tf.visualization import grad_cam, record_images

# Pixels of a thumbnail, and of what is decoded where no run says what its networks saw.
SIDE = 184
_IMAGE_SIZE = 256
_QUALITY = 82
_PLACE = ["shard", "position", "image_name"]
_SAID = {"sex": "{}", "age_approx": "{} years", "anatom_site_general_challenge": "{}", "diagnosis": "{}"}
# Predictions of the same networks come nearer to each other, however they were computed.
_ALIKE = 0.005


def find(table, threshold, count):
    """Finds the worst false negatives and false positives.

    Args:
        table: DataFrame with `image_name`, `target` and `prediction`.
        threshold: Prediction from which an image is called malignant; None for none.
        count: Number of either at most.

    Returns:
        Two DataFrames, rows of the table: malignant images from the lowest prediction up, and benign ones from the
        highest down.
    """
    ordered = table.sort_values(["prediction", "image_name"])
    called = ordered["prediction"] >= (np.inf if threshold is None else threshold)
    malignant = ordered["target"] == 1
    return ordered[malignant & ~called].head(count), ordered[~malignant & called].iloc[::-1].head(count)


def describe(rows, pictures):
    """Describes images for the report.

    Args:
        rows: See `find`; further columns of metadata are told where they are known.
        pictures: See `look`.

    Returns:
        List of dicts of `image_name`, `patient_id`, `prediction`, `said` (of the metadata, text), those of `pictures`,
        None where there is no picture, and `differs`: whether the networks say another probability than was predicted.
    """
    described = []
    for row in rows.to_dict("records"):
        said = [text.format(row[name]) for name, text in _SAID.items() if str(row.get(name, "")) not in ("", "unknown")]
        found = pictures.get(row["image_name"], dict.fromkeys(("image", "map", "probability", "seen")))
        known = {name: row[name] for name in ("image_name", "patient_id", "prediction")}
        chance = found["probability"]
        differs = chance is not None and abs(chance - row["prediction"]) > _ALIKE
        described.append({**known, "said": ", ".join(said).replace(".0 years", " years"), **found, "differs": differs})
    return described


def look(names, workdir, records):
    """Reads and explains images.

    Args:
        names: Names of images.
        workdir: Run folder whose networks explain them; None for none.
        records: DataFrame of records that hold some of them, see `joined_tables.read_records`; None for none.

    Returns:
        Dict from name to a dict of `image` and `map` (`data:` URLs of JPEG files), `probability` (what the networks
        say; see `grad_cam.explain_rows`) and `seen` (whether all have been trained on it, or may have been); the last
        three None without a run.

    Raises:
        ValueError: A shard is corrupt, or there is no trained fold.
    """
    rows = None if records is None else records.loc[records["image_name"].isin(names), _PLACE]
    if rows is None or rows.empty:
        return {}
    if not workdir:
        images = record_images.load_images(rows, _IMAGE_SIZE)
        nothing = dict.fromkeys(("map", "probability", "seen"))
        return {
            name: {"image": encode(image), **nothing} for name, image in zip(rows["image_name"], images, strict=True)
        }
    columns = clinical_metadata.columns(run_directory.read_flags(workdir).get("metadata", ""))
    found = grad_cam.explain_rows(workdir, record_metadata.add_columns(rows, columns, cpu.count_cores()))
    columns = zip(rows["image_name"], found.images, grad_cam.overlay(*found[:2]), *found[2:], strict=True)
    return {
        name: {"image": encode(image), "map": encode(laid), "probability": float(chance), "seen": bool(seen)}
        for name, image, laid, chance, seen in columns
    }


def encode(image):
    """Gives an RGB image, uint8 `[S, S, 3]`, as the `data:` URL of a JPEG thumbnail."""
    method = "area" if image.shape[0] >= SIDE else "bicubic"
    small = tf.image.resize(image, [SIDE, SIDE], method).numpy().round().clip(0, 255).astype(np.uint8)
    jpeg = tf.io.encode_jpeg(small, quality=_QUALITY, optimize_size=True).numpy()
    return "data:image/jpeg;base64," + base64.b64encode(jpeg).decode()
