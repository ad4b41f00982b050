"""The archive of pooled features that `isic_tf.predict --embeddings` writes, read again."""

import numpy as np
import pandas as pd

from isic_tf.artifacts import safe_npz
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem

_MOST_BYTES = 2**35


def read_embeddings(path, names):
    """Reads the embeddings of some images.

    Args:
        path: `.npz` file, see `prediction_shards.join_embeddings`.
        names: Images, `[n]`; the archive may hold more.

    Returns:
        float32 `[n, networks, f]`, not a number where a network was not shown an image.

    Raises:
        IsicError: The file is not there, is damaged, or lacks an image.
    """
    if not filesystem.exists(path):
        raise errors.IsicError(
            f"expected embeddings at {path}, found none; make them with isic_tf.predict --embeddings"
        )
    try:
        with filesystem.open(path) as file:
            arrays = safe_npz.unpack(file, _MOST_BYTES)
        found, features = arrays["image_name"], arrays["embeddings"]
        if found.dtype.kind != "U" or features.dtype != np.float32 or features.ndim != 3 or len(found) != len(features):
            raise errors.IsicError(f"its arrays are {found.dtype} {found.shape} and {features.dtype} {features.shape}")
    except (ValueError, KeyError) as error:
        raise errors.IsicError(
            f"{path} is no archive of embeddings ({error!r}); write it again by isic_tf.predict"
        ) from error
    index = pd.Index(found.astype(object))
    if not index.is_unique:
        raise errors.IsicError(f"{path} names an image twice; write it again by isic_tf.predict")
    place = index.get_indexer(names)
    if (place < 0).any():
        raise errors.IsicError(
            f"{(place < 0).sum()} images have no embeddings in {path}, {names[np.argmax(place < 0)]} first"
        )
    return features[place]
