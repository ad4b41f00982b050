"""Reads the archive of embeddings (pooled features) that `isic_tf.predict --embeddings` writes."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import safe_npz
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

_MAX_BYTES = 2**35


def read_embeddings(path: str, names: Sequence[str]) -> np.ndarray:
    """Reads the embeddings of images.

    Args:
        path: `.npz` file, see `prediction_shards.join_embeddings`.
        names: Names of the images, `[n]`; the archive may hold more.

    Returns:
        float32 `[n, networks, f]`; NaN where a network did not predict an image.

    Raises:
        IsicError: The file does not exist, or names an image twice, or does not hold all images.
        CorruptRecordError: The file is damaged.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     path = os.path.join(directory, "embeddings.npz")
        ...     np.savez(path, image_name=np.array(["a", "b"]), embeddings=np.zeros((2, 1, 3), np.float32))
        ...     read_embeddings(path, ["b"])
        array([[[0., 0., 0.]]], dtype=float32)
    """
    if not filesystem.exists(path):
        raise errors.IsicError(f"no embeddings at {path}; create them with isic_tf.predict --embeddings")
    found, features = _read_arrays(path)
    index = pd.Index(found.astype(object))
    if not index.is_unique:
        raise errors.IsicError(f"{path} names an image twice; write it again with isic_tf.predict")
    positions = index.get_indexer(names)
    absent = [name for name, position in zip(names, positions, strict=True) if position < 0]
    if absent:
        raise errors.IsicError(
            f"{len(absent)} images have no embeddings in {path} (first: {absent[0]}); predict them with "
            "isic_tf.predict --embeddings"
        )
    return features[positions]


def _read_arrays(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the names, text `[n]`, and the embeddings, float32 `[n, networks, f]`."""
    with saved_files.explained_damage(path, "an archive of embeddings", "write it again with isic_tf.predict"):
        with filesystem.open(path) as file:
            arrays = safe_npz.unpack(file, _MAX_BYTES)
        names = arrays["image_name"]
        features = arrays["embeddings"]
        are_names = names.dtype.kind == "U" and names.ndim == 1
        if not are_names or features.dtype != np.float32 or features.ndim != 3 or len(names) != len(features):
            raise errors.CorruptRecordError(
                f"its arrays are {names.dtype} {names.shape} and {features.dtype} {features.shape}"
            )
    return names, features
