"""Writes and reads the detectors of a run: `unlike.npz` beside the weights of each fold, without pickle."""

import os
from collections.abc import Mapping

import numpy as np

from isic_tf.artifacts import kept_weights, safe_npz
from isic_tf.novelty.detector import Detector
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

DETECTOR_FILE = "unlike.npz"
_MAX_BYTES = 2**28
# The key of the SHA-256 of the weights whose features the detector knows.
_WEIGHTS = "weights_sha256"
_POSITIVE = ("scale", "variances", "residual", "limits")


def locate_detector(weights: str) -> str:
    """Returns the path of the detector of a weights file, which need not exist."""
    return os.path.join(os.path.dirname(weights), DETECTOR_FILE)


def save_detector(weights: str, detector: Detector) -> str:
    """Writes the detector of a fold's network.

    Args:
        weights: Weights file of the network.
        detector: See `detector.fit_detector`.

    Returns:
        Path of the file.

    Examples:
        >>> save_detector("runs/lite0/fold0/best.weights.h5", detector)  # doctest: +SKIP
        'runs/lite0/fold0/unlike.npz'
    """
    digest = np.array(filesystem.compute_sha256(weights))
    path = locate_detector(weights)
    safe_npz.save(path, {_WEIGHTS: digest, **detector._asdict()})
    return path


def load_detector(weights: str) -> Detector | None:
    """Reads the detector of a fold's network.

    Args:
        weights: Weights file of the network.

    Returns:
        `Detector`; None where there is none, as in runs of release 0.1 and of folds that hold nothing out, or where it
        is that of other weights.

    Raises:
        CorruptRecordError: The file is damaged.

    Examples:
        >>> load_detector("runs/of_release_0_1/fold0/best.weights.h5") is None
        True
    """
    path = locate_detector(weights)
    if not filesystem.exists(path):
        return None
    with saved_files.explained_damage(path, "a detector of unlike images", "run the same isic_tf.train again"):
        with filesystem.open(path) as file:
            arrays = safe_npz.unpack(file, _MAX_BYTES)
        digests = kept_weights.read_digests(weights)
        if digests and str(arrays[_WEIGHTS]) not in digests:
            return None
        return _check({name: arrays[name] for name in Detector._fields})


def _check(arrays: Mapping[str, np.ndarray]) -> Detector:
    """Returns the detector of arrays; raises where they do not fit together."""
    width, early = arrays["references"].shape[-1], arrays["mean"].shape[-1]
    count = arrays["components"].shape[0]
    shapes = {
        "mean": (early,),
        "scale": (early,),
        "components": (count, early),
        "variances": (count,),
        "residual": (1,),
        "references": (len(arrays["references"]), width),
        "limits": (3,),
    }
    for name, array in arrays.items():
        kind = np.float16 if name == "references" else np.float32
        if array.shape != shapes[name] or array.dtype != kind or not array.size:
            raise errors.CorruptRecordError(f"its array {name} is {array.dtype} {array.shape}")
        if not np.isfinite(array).all() or (name in _POSITIVE and array.min() <= 0):
            raise errors.CorruptRecordError(f"its array {name} holds values that no fit gives")
    return Detector(**arrays)
