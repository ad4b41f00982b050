"""Writes diagnoses as one self-contained HTML page: no network, no scripts, every value of the data escaped."""

import base64
import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.evaluation import report_template
from isic_tf.visualization import grad_cam
from tfrecord_tools.io import atomic_write

TEMPLATE = "diagnosis.html.j2"
_QUALITY = 90


def write(
    path: str, found: Sequence[Any], images: np.ndarray, maps: np.ndarray, facts: Mapping[str, Any], notice: str
) -> str:
    """Writes the page.

    Args:
        path: HTML file to write.
        found: Diagnoses, `[n]`, see `judge.Diagnosis`.
        images: uint8 `[n, S, S, 3]`, as the networks see them.
        maps: float32 `[n, S, S]` in [0, 1], see `grad_cam.enlarge`.
        facts: What is stated of the run: `name`, `folds`, `versions`, `prevalence`, `operate_at`, `threshold` and,
            where there is one, `sensitivity`, `specificity`, `benign` and `malignant` (numbers of images).
        notice: What the page is not.

    Returns:
        `path`.
    """
    overlays = grad_cam.overlay(images, maps)
    entries = [
        {"found": one, "image": encode(image), "map": encode(overlay)}
        for one, image, overlay in zip(found, images, overlays, strict=True)
    ]
    # The most suspicious first.
    entries.sort(key=lambda entry: _order(entry["found"]), reverse=True)
    environment = report_template.make_environment("isic_tf.diagnosis")
    made = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    text = environment.get_template(TEMPLATE).render(
        entries=entries, facts={"sensitivity": None, **facts}, notice=notice, made=made, side=images.shape[1]
    )
    atomic_write.write_text(path, text)
    return path


def _order(found: Any) -> float:
    return float(found.score if found.context_probability is None else found.context_probability)


def encode(image: np.ndarray) -> str:
    """Returns a picture, uint8 `[h, w, 3]`, as the address of its own bytes."""
    content = tf.io.encode_jpeg(image, quality=_QUALITY).numpy()
    return "data:image/jpeg;base64," + base64.b64encode(content).decode()
