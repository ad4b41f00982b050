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
import tfrecord_tools
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
    # Where files have no owner, nobody knows who wrote a graph.
    return hasattr(os, "getuid") and config.context == "none" and not names.is_address(config.backbone)


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
    """Returns a digest of the packages' code, which is stricter than their version."""
    digest = hashlib.sha256(isic_tf.__version__.encode())
    for package in (isic_tf, tfrecord_tools):
        for path in sorted(pathlib.Path(str(package.__file__)).parent.rglob("*.py")):
            # Editors leave links that lead nowhere.
            if path.is_file():
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
        if not _is_own(os.stat(os.path.dirname(path))):
            return None
        with open(path, "rb") as file:
            if not _is_own(os.fstat(file.fileno())):
                return None
            digest, content = file.read(_DIGEST_BYTES), file.read()
    except OSError:
        return None
    return content if hashlib.sha256(content).digest() == digest else None


def _is_own(state: os.stat_result) -> bool:
    """Returns whether a file or a folder is the user's, and only the user may write to it."""
    return not state.st_mode & _WRITABLE and state.st_uid == os.getuid()


def _open_own(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


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
        folder = os.path.dirname(path)
        os.makedirs(folder, mode=0o700, exist_ok=True)
        with atomic_write.replaced(path) as temporary, open(temporary, "wb", opener=_open_own) as file:
            file.write(hashlib.sha256(content).digest() + content)
        kept = sorted(pathlib.Path(path).parent.glob(f"*{_ENDING}"), key=lambda one: one.stat().st_mtime)
        for old in kept[:-_MOST_FILES]:
            old.unlink()
