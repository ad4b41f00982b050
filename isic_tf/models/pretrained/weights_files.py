"""Weights files by path: `.h5` and `.pth` of a backbone, `.weights.h5` of a classifier that a run kept."""

import contextlib
import logging
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import tensorflow as tf

from isic_tf.artifacts import kept_weights
from isic_tf.models.pretrained import h5_layout, h5_weights, kept_arrays, lite_weights, torch_files, weights_table
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, temporary_files

_LOG = logging.getLogger(__name__)

_HEAD_BYTES = 64


def find_format(path: str) -> str:
    """Finds by its content what kind of file a weights file is.

    Args:
        path: Local or remote file.

    Returns:
        `hdf5`, `pytorch`, `keras`, `npz`, `safetensors`; "" for any other.
    """
    with filesystem.open(path) as file:
        head = file.read(_HEAD_BYTES)
    if h5_layout.is_hdf5(head):
        return "hdf5"
    if torch_files.is_torch_file(head):
        return "pytorch"
    if head.startswith(b"PK"):
        return _find_zip_format(path)
    # The length of its header, of JSON.
    is_json = head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= filesystem.size(path)
    return "safetensors" if is_json else ""


def _find_zip_format(path: str) -> str:
    try:
        with filesystem.open(path) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except zipfile.BadZipFile:
        return ""
    if any(name.endswith("/data.pkl") for name in names):
        return "pytorch"
    if "model.weights.h5" in names:
        return "keras"
    return "npz" if any(name.endswith(".npy") for name in names) else ""


def load_weights(model: tf.keras.Model, path: str, backbone: tf.keras.Model | None = None) -> None:
    """Loads weights from a file into a model, all of them or nothing.

    What the file is, is found by its content: those that a run kept are loaded into the model, only if their SHA-256 is
    the recorded one; those of a backbone into the backbone, and if they are published ones, it is logged that the file
    is verified.

    Args:
        model: Keras model.
        path: `.h5`, `.weights.h5` or, of EfficientNet-Lite, `.pth` file, local or remote.
        backbone: The backbone within the model; the model itself if None.

    Raises:
        ConfigError: There is no such file, or it has to be converted first.
        CorruptRecordError: The file is damaged, or holds weights of another model.
    """
    encoder = model if backbone is None else backbone
    if check_format(path, encoder.name) == "pytorch":
        _describe(path, path, encoder.name)
        lite_weights.load_lite(encoder, path)
        return
    with _local_copy(path) as local, _named_errors(local, path):
        if h5_layout.has_layout(local):
            file = _describe(path, local, encoder.name)
            h5_weights.load(encoder, local, is_published=file is not None)
        else:
            kept_weights.check_digest(path, local)
            _load_kept(model, local, path)


def read_kept(path: str) -> dict[str, np.ndarray] | None:
    """Reads the arrays of a local file that a run kept, without its network.

    Args:
        path: Weights file.

    Returns:
        The arrays by their names, see `kept_arrays.read_all`; None where it is another file, in a bucket, or damaged:
        `load_weights` says what is wrong.
    """
    if filesystem.is_remote(path) or not os.path.isfile(path):
        return None
    try:
        kept_weights.check_digest(path)
    except errors.CorruptRecordError:
        return None
    arrays = kept_arrays.read_all(path)
    return arrays if arrays is not None and _is_finite(arrays.values()) else None


def check_format(path: str, backbone: str) -> str:
    """Refuses a weights file that is of no kind that this backbone loads.

    Args:
        path: Local or remote file.
        backbone: Name of the backbone.

    Returns:
        `hdf5`, or `pytorch` for EfficientNet-Lite.

    Raises:
        ConfigError: There is no such file, or it has to be converted first.
        CorruptRecordError: It is of another kind, or the published file of another backbone.
    """
    weights_table.check_file(path)
    kind = find_format(path)
    if kind == "pytorch" and backbone.startswith("efficientnet-lite"):
        return kind
    if kind in ("pytorch", "keras", "npz", "safetensors"):
        file = weights_table.identify(path)
        if file:
            raise _make_foreign_error(path, file, backbone)
        raise errors.ConfigError(
            f"expected an .h5 file of weights at {path}, got a file of the kind {kind}; convert it by "
            "python -m isic_tf.weights --convert, and give the path of what that writes"
        )
    if kind != "hdf5":
        raise errors.CorruptRecordError(
            f"expected an .h5 file of weights at {path}, got a file that does not begin as HDF5; name another file, or "
            "copy it again if it is damaged"
        )
    return kind


def _make_foreign_error(path: str, file: weights_table.PublishedFile, backbone: str) -> errors.CorruptRecordError:
    return errors.CorruptRecordError(
        f"expected weights of {backbone} in {path}, got the published {file.name} of {file.backbone}; use "
        f"--backbone={file.backbone}, or name another file"
    )


@contextlib.contextmanager
def _local_copy(path: str) -> Iterator[str]:
    """Yields a local name of a file that ends in `.weights.h5`, by which Keras knows what a run kept."""
    with temporary_files.temporary_directory("weights") as folder:
        local = os.path.join(folder, "copy.weights.h5")
        if filesystem.is_remote(path):
            tf.io.gfile.copy(path, local)
        else:
            os.symlink(os.path.abspath(path), local)
        yield local


@contextlib.contextmanager
def _named_errors(local: str, path: str) -> Iterator[None]:
    """Names the file itself in errors about its local copy."""
    try:
        yield
    except errors.CorruptRecordError as error:
        raise errors.CorruptRecordError(str(error).replace(local, path)) from error


def _describe(path: str, local: str, backbone: str) -> weights_table.PublishedFile | None:
    """Logs which published file a file is, and refuses that of another backbone."""
    file = weights_table.identify(local, os.path.basename(path))
    if file is None:
        _LOG.info(f"{path} is not in the table of published weights: its content is not verified")
        return None
    if file.backbone != backbone:
        raise _make_foreign_error(path, file, backbone)
    _LOG.info(f"{backbone} {file.kind}: {path}, {file.digest_label} verified")
    return file


def _load_kept(model: tf.keras.Model, local: str, path: str) -> None:
    arrays = kept_arrays.read_arrays(model, local)
    if arrays is not None:
        _refuse_infinite(arrays, path)
        model.set_weights(arrays)
        return
    h5_layout.refuse_other_files(local)
    # Keras assigns while it reads: of a file that does not fit, a part would be loaded.
    before = model.get_weights()
    try:
        model.load_weights(local)
        _refuse_infinite(model.get_weights(), path)
    except errors.IsicError:
        model.set_weights(before)
        raise
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError) as error:
        model.set_weights(before)
        reason = " ".join(str(error).split())[:300]
        raise errors.CorruptRecordError(
            f"{path} does not hold weights of this network: {reason}; name weights of the same backbone and model "
            "options, or copy the file again if it is damaged"
        ) from error


def check_kept(path: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Refuses what `load_weights` refuses of a file that a run kept, whatever the network.

    Args:
        path: Local or remote HDF5 file.
        arrays: Its arrays by their names.

    Raises:
        CorruptRecordError: Parts lie in other files, or values are not finite.
    """
    with _local_copy(path) as local, _named_errors(local, path):
        h5_layout.refuse_other_files(local)
    _refuse_infinite(list(arrays.values()), path)


def _is_finite(arrays: Iterable[np.ndarray]) -> bool:
    # Of other types, as texts, a network has none.
    return all(array.dtype.kind not in "fc" or np.isfinite(array).all() for array in arrays)


def _refuse_infinite(arrays: list[np.ndarray], path: str) -> None:
    if not _is_finite(arrays):
        raise errors.CorruptRecordError(
            f"{path} holds weights that are not finite numbers; name those of a training that did not diverge"
        )
