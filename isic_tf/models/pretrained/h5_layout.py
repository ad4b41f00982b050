"""Reads the layers and weights of an HDF5 file as Keras 2 saves weights (`layer_names` and `weight_names`).

Nothing is executed: the file holds numbers. Links to other files are refused, and the shape of an array is known before
any memory is allocated for it.
"""

import contextlib
import os
from collections.abc import Iterator
from typing import NamedTuple

import h5py
import numpy as np

from tfrecord_tools import errors

_SIGNATURE = b"\x89HDF\r\n\x1a\n"
# The largest published network, EfficientNet-L2, has some 3000 arrays.
_MAX_ARRAYS = 100_000
_MAX_BYTES = 4 << 30


class SavedArray(NamedTuple):
    """An array of a file: `variable` is the end of its name, such as `kernel`; its `data` is not read yet."""

    variable: str
    data: h5py.Dataset


class SavedLayer(NamedTuple):
    """A layer of a file that has weights."""

    name: str
    arrays: list[SavedArray]


class Layout(NamedTuple):
    """What a file holds: the layers with weights in order, and the names of all layers."""

    layers: list[SavedLayer]
    layer_names: list[str]


def is_hdf5(head: bytes) -> bool:
    """Returns whether a file that begins with these bytes, 8 or more, is an HDF5 file."""
    return head.startswith(_SIGNATURE)


def has_layout(path: str) -> bool:
    """Returns whether a local HDF5 file has the layout of published weights, rather than that of `.weights.h5`."""
    with explained_damage(path), h5py.File(path, "r") as file:
        return _has_names(file) or isinstance(file.get("model_weights"), h5py.Group)


@contextlib.contextmanager
def opened(path: str) -> Iterator[Layout]:
    """Opens a file of weights, or of a complete model.

    Args:
        path: Local file.

    Yields:
        Its layers, whose arrays can be read by `read_array` in the block.

    Raises:
        CorruptRecordError: The file is damaged, or has another layout.
    """
    with explained_damage(path), h5py.File(path, "r") as file:
        root = file if _has_names(file) or "model_weights" not in file else find(file, "model_weights")
        names = _read_names(root, "layer_names")
        if not names:
            raise ValueError("there is no list of layers")
        layers = [layer for name in names for layer in _read_layer(find(root, name), name)]
        if sum(len(layer.arrays) for layer in layers) > _MAX_ARRAYS:
            raise ValueError(f"there are more than {_MAX_ARRAYS} arrays")
        yield Layout(layers, names)


@contextlib.contextmanager
def explained_damage(path: str) -> Iterator[None]:
    """Replaces the errors of a damaged HDF5 file by one that names the file and the remedy.

    Args:
        path: The file that the block reads.

    Yields:
        Nothing.

    Raises:
        CorruptRecordError: The block failed because of the file.
    """
    try:
        yield
    except errors.IsicError:
        raise
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, MemoryError) as error:
        # The text of an error can be as long as the file, or have several lines.
        reason = " ".join(str(error).split())[:200]
        raise errors.CorruptRecordError(
            f"expected weights that Keras saved as HDF5 in {path}, got a damaged or foreign file ({reason}); copy it "
            "again, or name another file"
        ) from error


def read_array(array: SavedArray) -> np.ndarray:
    """Reads an array, whose shape was compared with that of a variable before.

    Args:
        array: Array of an open file.

    Returns:
        float32 array.

    Raises:
        ValueError: It holds other things than finite numbers.
    """
    data = array.data
    if data.dtype.kind not in "fiu" or data.is_virtual or data.external:
        raise ValueError(f"{data.name} does not hold numbers of its own")
    values = np.asarray(data, np.float32)
    if not np.isfinite(values).all():
        raise ValueError(f"{data.name} holds values that are not finite")
    return values


def _has_names(group: h5py.Group) -> bool:
    return "layer_names" in group.attrs or "layer_names0" in group.attrs


def _read_names(group: h5py.Group, attribute: str) -> list[str]:
    """Reads a list of names, which is split over several attributes where it is long."""
    parts = [group.attrs[attribute]] if attribute in group.attrs else []
    while attribute not in group.attrs and f"{attribute}{len(parts)}" in group.attrs:
        parts.append(group.attrs[f"{attribute}{len(parts)}"])
    names = [name for part in parts for name in np.asarray(part).ravel().tolist()]
    if len(names) > _MAX_ARRAYS:
        raise ValueError(f"{attribute} has more than {_MAX_ARRAYS} entries")
    return [name.decode("utf-8") if isinstance(name, bytes) else str(name) for name in names]


def refuse_other_files(path: str) -> None:
    """Refuses a file whose groups or arrays lie in other files, or that has an array larger than 4 GiB.

    Args:
        path: Local HDF5 file.

    Raises:
        CorruptRecordError: They do, or the file is damaged.
    """

    # What such a function returns ends the visit; errors in it would not be passed on.
    def check_link(name: str, link: object) -> str | None:
        # Links within the file can lead in circles.
        return None if isinstance(link, h5py.HardLink) else f"{name} lies in another file"

    def check_array(name: str, found: object) -> str | None:
        if not isinstance(found, h5py.Dataset):
            return None
        if found.is_virtual or found.external:
            return f"{name} lies in another file"
        # Keras reads an array before it compares its shape.
        return f"{name} is larger than {_MAX_BYTES >> 30} GiB" if found.nbytes > _MAX_BYTES else None

    with explained_damage(path), h5py.File(path, "r") as file:
        problem = file.visititems_links(check_link) or file.visititems(check_array)
        if problem:
            raise ValueError(problem)


def find(group: h5py.Group, path: str) -> h5py.Group | h5py.Dataset:
    """Finds a part of a file, through links within the file only.

    Args:
        group: Group of an open file.
        path: Names of the part and of the groups that it is in, separated by slashes.

    Returns:
        The part.

    Raises:
        ValueError: There is none, or it lies in another file.
    """
    for part in path.split("/"):
        if not isinstance(group.get(part, getlink=True), h5py.HardLink):
            raise ValueError(f"{path} of its list does not exist, or lies in another file")
        group = group[part]
    return group


def _read_layer(group: h5py.Group, name: str) -> list[SavedLayer]:
    """Reads a layer; a model within the model, whose weights have names of several layers, as these layers."""
    layers: dict[str, SavedLayer] = {}
    for path in _read_names(group, "weight_names"):
        data = find(group, path)
        if not isinstance(data, h5py.Dataset):
            raise ValueError(f"{data.name} is not an array")
        owner, _, variable = path.removesuffix(":0").rpartition("/")
        layers.setdefault(owner, SavedLayer(os.path.basename(owner), [])).arrays.append(SavedArray(variable, data))
    # The name of a plain layer may itself have a slash.
    return list(layers.values()) if len(layers) > 1 else [SavedLayer(name, layer.arrays) for layer in layers.values()]
