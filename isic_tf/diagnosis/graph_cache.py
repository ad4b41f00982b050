"""Keeps graphs of networks among the user's own files, so that a second start neither builds nor traces a network.

They are not kept in the run: a graph may write files, and runs are handed on to others.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

import isic_tf
from isic_tf.models.config import ModelConfig
from isic_tf.models.families import names
from isic_tf.models.pretrained import weights_cache
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write

# What builds networks, besides this package's code; TensorFlow's package may have another name.
_PACKAGES = ("efficientnet", "tf_keras")
_ENDING = ".graph"
# Of some 0.3 MB each.
_MOST_FILES = 32
_DIGEST_BYTES = 32
# Bits of a file's mode by which others may write to it.
_WRITABLE = 0o022


def is_kept(config: ModelConfig) -> bool:
    """Returns whether graphs of a network are kept.

    Args:
        config: The network.

    Returns:
        False for networks of the user, whose code may change, and for those with patient context, which are more than
        a graph.

    Examples:
        >>> is_kept(ModelConfig(backbone="efficientnet-b0")), is_kept(ModelConfig(backbone="my_networks:build"))
        (True, False)
    """
    return config.context == "none" and not names.is_address(config.backbone)


def find_path(config: ModelConfig, embed: bool, arrays: Mapping[str, np.ndarray]) -> str:
    """Returns where the graph of a network is kept, under a name that stands for all that the graph depends on.

    Args:
        config: The network.
        embed: Whether the graph gives pooled features.
        arrays: Weights of the network, see `kept_arrays.read_all`.

    Returns:
        Path below `weights_cache.folder()`.
    """
    facts = {
        "versions": [tf.version.VERSION, tf.version.GIT_VERSION, *map(importlib.metadata.version, _PACKAGES)],
        "sources": _compute_digest_of_sources(),
        "keras": [
            tf.keras.backend.floatx(),
            tf.keras.backend.epsilon(),
            tf.keras.backend.image_data_format(),
            tf.keras.mixed_precision.global_policy().name,
        ],
        # Where the first weights came from does not matter.
        "network": {**dataclasses.asdict(config), "weights": ""},
        "embed": embed,
        "arrays": {name: [array.shape, array.dtype.name] for name, array in arrays.items()},
    }
    name = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return os.path.join(weights_cache.folder(), "isic_tf_graphs", name + _ENDING)


@functools.cache
def _compute_digest_of_sources() -> str:
    """Returns a digest of the package's code, which is stricter than its version."""
    digest = hashlib.sha256(isic_tf.__version__.encode())
    for path in sorted(pathlib.Path(isic_tf.__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def read(path: str) -> bytes | None:
    """Reads what `write` kept.

    Args:
        path: See `find_path`.

    Returns:
        The content; None where there is none, it is damaged, or others may have written it.
    """
    try:
        with open(path, "rb") as file:
            state = os.fstat(file.fileno())
            if state.st_mode & _WRITABLE or state.st_uid != os.getuid():
                return None
            digest, content = file.read(_DIGEST_BYTES), file.read()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == digest else None


def write(path: str, content: bytes) -> None:
    """Keeps a graph, and removes the oldest where there are many; does nothing where the folder cannot be written.

    Args:
        path: See `find_path`.
        content: What `read` returns.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     write(f"{directory}/a.graph", b"nodes")
        ...     read(f"{directory}/a.graph")
        b'nodes'
    """
    with contextlib.suppress(OSError, errors.IsicError):
        with atomic_write.replaced(path) as temporary:
            with open(temporary, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
            os.chmod(temporary, 0o600)
        kept = sorted(pathlib.Path(path).parent.glob(f"*{_ENDING}"), key=lambda one: one.stat().st_mtime)
        for old in kept[:-_MOST_FILES]:
            old.unlink()
