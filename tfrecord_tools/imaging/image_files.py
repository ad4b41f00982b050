"""Finds and opens image files: JPEG, PNG, BMP, TIFF, WebP or DICOM, in directories, zip archives and HDF5 files."""

import functools
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, preprocessing
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.imaging.rasters import raster_files
from tfrecord_tools.imaging.sources import addresses, naming, search
from tfrecord_tools.io import filesystem

_LOG = logging.getLogger(__name__)

SPLITS = ("train", "test")
FORMATS = "JPEG, PNG, BMP, TIFF, WebP or DICOM"
_Decode = Callable[..., tuple[np.ndarray, tuple[int, int]]]


def is_dicom(path: str, data: bytes) -> bool:
    """Returns whether a file is DICOM: by its magic bytes, or by its extension where the preamble is missing.

    Args:
        path: Path of the file.
        data: Bytes of the file.
    """
    return data[128:132] == b"DICM" or path.lower().endswith(search.DICOM_EXTENSIONS)


def prepare_image(
    path: str,
    options: Mapping[str, Any],
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Decodes an image file to a square, as `tfrecord_tools.build` does.

    Args:
        path: Path of an image file, or its address in a container, see `sources.addresses`.
        options: Keyword arguments of `preprocessing.resize_to_square`, for example `{"image_size": 384}`.
        limits: What decoding may take.
        notes: See `dicom.decode`.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB.

    Raises:
        CorruptRecordError: The image cannot be decoded within the limits.
        OSError: The file cannot be read; in a bucket an error of TensorFlow, see `filesystem.is_failure`.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        ...     _ = file.write(codec.encode(np.zeros((48, 64, 3), np.uint8), quality=95))
        ...     file.flush()
        ...     prepare_image(file.name, {"image_size": 32, "resize": "crop"}).shape
        (32, 32, 3)
    """
    image, _ = preprocessing.resize_to_square(open_file(path, limits, notes), **options)
    return image[..., ::-1]


def open_file(
    path: str, limits: image_limits.ImageLimits = image_limits.DEFAULTS, notes: list[str] | None = None
) -> _Decode:
    """Reads an image file.

    Args:
        path: Path of the file, or its address in a container, see `sources.addresses`.
        limits: What decoding may take.
        notes: See `dicom.decode`.

    Returns:
        Function that decodes the image, see the argument `decode` of `preprocessing.resize_to_square`.

    Raises:
        CorruptRecordError: The file is DICOM by its name, and cannot be parsed; or it is larger than the limits.
    """
    return open_bytes(read_file(path, limits), path, limits, notes)


def open_bytes(
    data: bytes,
    path: str,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
    notes: list[str] | None = None,
) -> _Decode:
    """Opens an image file whose bytes are in memory.

    Args:
        data: Bytes of the file.
        path: Its path, or a name for errors; by its extension, DICOM files without a preamble are known.
        limits: What decoding may take.
        notes: See `dicom.decode`.

    Returns:
        See `open_file`.

    Raises:
        CorruptRecordError: See `open_file`.
    """
    if is_dicom(path, data):
        # `pydicom` takes a fifth of a second to import, and most sets of images hold no DICOM file.
        from tfrecord_tools.imaging import dicom

        return functools.partial(dicom.decode, dicom.read(data, path, limits), path, limits=limits, notes=notes)
    return make_decoder(data, path, limits)


def make_decoder(data: bytes, path: str, limits: image_limits.ImageLimits = image_limits.DEFAULTS) -> _Decode:
    """Returns a function that decodes an image file which is not DICOM.

    Args:
        data: Bytes of the file.
        path: Name of the file in errors.
        limits: What decoding may take.

    Returns:
        Function, see the argument `decode` of `preprocessing.resize_to_square`.
    """
    if raster_files.is_raster(data):
        return functools.partial(raster_files.decode, data, path, limits=limits)
    return functools.partial(codec.decode, data, path, limits=limits)


def read_file(path: str, limits: image_limits.ImageLimits = image_limits.DEFAULTS) -> bytes:
    """Reads an image file that is not larger than what decoding may take.

    Args:
        path: Path of the file.
        limits: What decoding may take.

    Returns:
        Bytes of the file.

    Raises:
        CorruptRecordError: The file is larger.
        OSError: The file cannot be read; in a bucket an error of TensorFlow, see `filesystem.is_failure`.
    """
    container, member = addresses.split(path)
    if member:
        return addresses.read(container, member, limits)
    # In a bucket, a request for the size would take as long as reading the image.
    if os.path.exists(path):
        image_limits.check_memory(limits, path, os.path.getsize(path))
    return filesystem.read(path)


def split_sources(images: str) -> list[str]:
    """Splits a list of directories, image files, zip archives and HDF5 files at its commas.

    Args:
        images: Paths separated by commas.

    Returns:
        The paths, each once.

    Raises:
        IsicError: There are none, or one of them does not exist or is something else.
    """
    sources = list(dict.fromkeys(filesystem.split_list(images)))
    for source in sources or [images]:
        if _is_searchable(source):
            continue
        if source and filesystem.exists(source):
            raise errors.IsicError(
                f"expected image files ({FORMATS}), directories of them, zip archives or HDF5 files, got {source}; "
                "name one of these"
            )
        raise errors.IsicError(f"{source} not found; check the path")
    return sources


def is_source(text: str) -> bool:
    """Returns whether a text names image files, or directories or containers of them, and not shards of records."""
    sources = filesystem.split_list(text)
    return bool(sources) and all(map(_is_searchable, sources))


def _is_searchable(source: str) -> bool:
    if filesystem.isdir(source):
        return True
    return filesystem.is_regular(source) and (addresses.is_container(source) or search.is_image(source))


def find_images(images: str, split: str) -> dict[str, list[str]]:
    """Finds the image files of one split in directories and all their subdirectories; logs what is passed over.

    A single file may be named as well.

    A file without an extension is an image if its first bytes are those of one. Hidden files, such as the `._a.jpg`
    that macOS writes beside `a.jpg`, are not. Zip archives and HDF5 files are searched like directories.

    Args:
        images: Directories, image files, zip archives and HDF5 files, separated by commas. A subdirectory with the name
            of the other split is not searched.
        split: `train` or `test`.

    Returns:
        Dict from image name to the paths with that name (more than one if `x.jpg` and `x.png` exist); see
        `sources.addresses` for images in containers.

    Raises:
        CorruptRecordError: A container is damaged.
        IsicError: A directory does not exist.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     pathlib.Path(directory, "train", "2020").mkdir(parents=True)
        ...     for name in ("a.jpg", "b.txt", "train/2020/c.PNG"):
        ...         pathlib.Path(directory, name).touch()
        ...     list(find_images(directory, "train"))
        ['a', 'c']
    """
    found = search.Search(frozenset(SPLITS) - {split})
    for source in split_sources(images):
        found.search(source)
        passed_over = found.describe_passed_over()
        if passed_over:
            _LOG.warning(f"note: passed over in {source}: {passed_over}")
    return found.paths


def name_images(
    found: Mapping[str, list[str]], images: str, wanted: Iterable[str] = ()
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Names files of one name by their directories, where they are DICOM files or a table does so.

    Args:
        found: See `find_images`.
        images: As there.
        wanted: Image names of a table.

    Returns:
        See `sources.naming.settle_names`.
    """
    return naming.settle_names(found, split_sources(images), wanted)


def list_splits(directory: str) -> list[str]:
    """Lists the splits that have a subdirectory in a directory of images, such as `["train", "test"]`."""
    return [split for split in SPLITS if filesystem.isdir(os.path.join(directory, split))]


def find_type(path: str) -> str:
    """Returns the type of an image file by its extension, in small letters, such as `jpg`; "" without one.

    Args:
        path: Path of the file, or its address in a container; in an HDF5 file `hdf5`.

    Examples:
        >>> find_type("a.zip::b/c.JPG"), find_type("x.h5::ISIC_1"), find_type("1.2.840.7")
        ('jpg', 'hdf5', '')
    """
    container, member = addresses.split(path)
    if member and addresses.is_hdf5(container):
        return "hdf5"
    file = os.path.basename(member or path)
    return "" if search.is_without_extension(file) else os.path.splitext(file)[1].lower().lstrip(".")
