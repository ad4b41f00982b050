"""Addresses of images inside containers: zip archives, and HDF5 files with the bytes of one image per data set.

An address is the path of the container, `::` and the name of the image in it, such as `isic.zip::train/ISIC_1.jpg` or
`train-image.hdf5::ISIC_0015670`. It stands wherever the path of an image file may stand; containers are read in place.
"""

import functools
import os
import re
from typing import Any

from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.imaging.sources import hdf5_files, zip_archives
from tfrecord_tools.io import filesystem

SEPARATOR = "::"
_ARCHIVES = (".zip",)
_HDF5_FILES = (".hdf5", ".h5")
_ADDRESS = re.compile(r"(.*?\.(?:zip|hdf5|h5))::(.+)", re.IGNORECASE | re.DOTALL)


def is_container(path: str) -> bool:
    """Returns whether a path names a container of images, by its extension: `.zip`, `.hdf5` or `.h5` in any case.

    Examples:
        >>> is_container("ISIC.ZIP"), is_container("isic.zip::a.jpg")
        (True, False)
    """
    return path.lower().endswith(_ARCHIVES + _HDF5_FILES)


def is_hdf5(path: str) -> bool:
    """Returns whether a container is an HDF5 file."""
    return path.lower().endswith(_HDF5_FILES)


def join(container: str, member: str) -> str:
    """Returns the address of an image in a container."""
    return f"{container}{SEPARATOR}{member}"


def split(path: str) -> tuple[str, str]:
    """Splits the address of an image into its container and its name there.

    Args:
        path: Path of a file, or address of an image in a container.

    Returns:
        Path of the file or of the container, and the name in the container; "" for a file that is in none.

    Examples:
        >>> split("data/isic.zip::train/a.jpg"), split("data/a.jpg")
        (('data/isic.zip', 'train/a.jpg'), ('data/a.jpg', ''))
    """
    found = _ADDRESS.fullmatch(path)
    return (found[1], found[2]) if found else (path, "")


def hide_directories(text: str, path: str) -> str:
    """Removes from a message the directories of an image, and of the container that it is in.

    Args:
        text: A message that names the image or its container.
        path: Path of the image file, or its address.

    Examples:
        >>> hide_directories("/data/x/isic.zip::train/a.jpg is damaged", "/data/x/isic.zip::train/a.jpg")
        'a.jpg is damaged'
    """
    for named in (path, split(path)[0]):
        text = text.replace(os.path.join(os.path.dirname(named), ""), "")
    return text


def list_members(container: str) -> list[str]:
    """Lists the names in a container, in order.

    Args:
        container: Path of a zip archive or HDF5 file.

    Returns:
        Names of the files of an archive, without directories; of the images of an HDF5 file.

    Raises:
        CorruptRecordError: The container is damaged.
    """
    opened = _open(container)
    return hdf5_files.list_members(opened) if is_hdf5(container) else zip_archives.list_members(opened)


def read_start(container: str, member: str, num_bytes: int) -> bytes:
    """Reads the first bytes of a file in a zip archive; see `zip_archives.read_start`."""
    return zip_archives.read_start(_open(container), container, member, num_bytes)


def read(container: str, member: str, limits: image_limits.ImageLimits = image_limits.DEFAULTS) -> bytes:
    """Reads an image in a container.

    Args:
        container: Path of a zip archive or HDF5 file.
        member: Name of the image in it.
        limits: What reading may take.

    Returns:
        Bytes of the image file.

    Raises:
        CorruptRecordError: The container or the image is damaged, the container lacks it, or it is larger than the
            limits.
    """
    reader = hdf5_files.read if is_hdf5(container) else zip_archives.read
    return reader(_open(container), container, member, limits)


def measure(path: str) -> int:
    """Returns the size of an image file in bytes; -1 where it is not known without a request to a bucket.

    Args:
        path: Path of a file, or address of an image in a container.
    """
    container, member = split(path)
    if not os.path.isfile(container):
        return -1
    if not member:
        return os.path.getsize(path)
    reader = hdf5_files.measure if is_hdf5(container) else zip_archives.measure
    return reader(_open(container), member)


def _open(container: str) -> Any:
    """Opens a container once in each process, as long as it does not change."""
    stamp = filesystem.stamp(container) if os.path.exists(container) else ()
    # Processes must not share a place in an open file.
    return _open_once(container, stamp, os.getpid())


@functools.lru_cache(maxsize=16)
def _open_once(container: str, stamp: tuple[int, ...], process: int) -> Any:
    return hdf5_files.open_file(container) if is_hdf5(container) else zip_archives.open_archive(container)
