"""Finds and opens image files: JPEG, PNG or DICOM."""

import functools
import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, preprocessing
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import filesystem, image_formats

_LOG = logging.getLogger(__name__)

EXTENSIONS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")
_DICOM_EXTENSIONS = (".dcm", ".dicom")
# Extensions that such files also have, if their first bytes agree.
_RARE_EXTENSIONS = (".jpe", ".jfif", ".ima", ".dic")
_FORMATS = ("JPEG", "PNG", "DICOM")
# Bytes from which a format is recognized.
_HEADER_BYTES = 132
# The table of contents of a DICOM medium, which has the magic bytes but no image.
_DICOM_CONTENTS = "DICOMDIR"
SPLITS = ("train", "test")


def is_dicom(path: str, data: bytes) -> bool:
    """Returns whether a file is DICOM: by its magic bytes, or by its extension where the preamble is missing.

    Args:
        path: Path of the file.
        data: Bytes of the file.
    """
    return data[128:132] == b"DICM" or path.lower().endswith(_DICOM_EXTENSIONS)


def prepare_image(
    path: str,
    options: Mapping[str, Any],
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
    notes: list[str] | None = None,
) -> np.ndarray:
    """Decodes an image file to a square, as `tfrecord_tools.build` does.

    Args:
        path: JPEG, PNG or DICOM file.
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
) -> Callable[..., tuple[np.ndarray, tuple[int, int]]]:
    """Reads an image file: JPEG, PNG or DICOM.

    Args:
        path: Path of the file.
        limits: What decoding may take.
        notes: See `dicom.decode`.

    Returns:
        Function that decodes the image, see the argument `decode` of `preprocessing.resize_to_square`.

    Raises:
        CorruptRecordError: The file is DICOM by its name, and cannot be parsed; or it is larger than the limits.
    """
    data = read_file(path, limits)
    if is_dicom(path, data):
        return functools.partial(dicom.decode, dicom.read(data, path, limits), path, limits=limits, notes=notes)
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
    # In a bucket, a request for the size would take as long as reading the image.
    if os.path.exists(path):
        image_limits.check_memory(limits, path, os.path.getsize(path))
    return filesystem.read(path)


def find_images(directory: str, split: str) -> dict[str, list[str]]:
    """Finds the image files of one split; logs what is passed over.

    A file without an extension is an image if its first bytes are those of one. Hidden files, such as the `._a.jpg`
    that macOS writes beside `a.jpg`, are not.

    Args:
        directory: Directory that has them, directly or in a subdirectory with the name of the split.
        split: `train` or `test`.

    Returns:
        Dict from image name to the paths with that name (more than one if `x.jpg` and `x.png` exist).

    Raises:
        IsicError: The directory does not exist.

    Examples:
        >>> import pathlib, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     pathlib.Path(directory, "train").mkdir()
        ...     for name in ("a.jpg", "b.txt", "train/c.PNG"):
        ...         pathlib.Path(directory, name).touch()
        ...     list(find_images(directory, "train"))
        ['a', 'c']
    """
    if not filesystem.isdir(directory):
        raise errors.IsicError(f"image directory {directory} not found; check --images")
    paths: dict[str, list[str]] = {}
    for place in (directory, os.path.join(directory, split)):
        passed_over: dict[str, list[str]] = {}
        for file in filesystem.listdir(place):
            path = os.path.join(place, file)
            kind = _classify(path)
            if kind == "image":
                paths.setdefault(_name_image(file), []).append(path)
            elif not (place == directory and file in SPLITS):
                passed_over.setdefault(kind, []).append(file)
        if passed_over:
            counts = [f"{len(files)} {kind} (first: {files[0]})" for kind, files in sorted(passed_over.items())]
            _LOG.warning(f"note: passed over in {place}: {', '.join(counts)}")
    return paths


def list_splits(directory: str) -> list[str]:
    """Lists the splits that have a subdirectory in a directory of images, such as `["train", "test"]`."""
    return [split for split in SPLITS if filesystem.isdir(os.path.join(directory, split))]


def _classify(path: str) -> str:
    """Returns `image` for an image file that can be read, or else what the path is, in the plural."""
    file = os.path.basename(path)
    extension = os.path.splitext(file)[1].lower()
    if file.startswith("."):
        return "hidden files"
    # A request for each file of a bucket would take minutes.
    is_checked = not filesystem.is_remote(path) or extension not in EXTENSIONS
    if is_checked and filesystem.isdir(path):
        return "directories"
    if is_checked and not filesystem.is_regular(path):
        return "pipes, devices or broken links"
    if extension in EXTENSIONS:
        return "image"
    if file.upper() == _DICOM_CONTENTS:
        return "tables of contents"
    with filesystem.open(path) as opened:
        found = image_formats.find_format(opened.read(_HEADER_BYTES))
    may_be_named_so = extension in _RARE_EXTENSIONS or _is_without_extension(file)
    if found in _FORMATS and may_be_named_so:
        return "image"
    return f"{found} files with another extension" if found in _FORMATS else f"{found or 'other'} files"


def _is_without_extension(file: str) -> bool:
    """Returns whether a file has no extension; the last part of a DICOM UID, a number, is none."""
    extension = os.path.splitext(file)[1]
    return not extension or extension[1:].isdecimal()


def _name_image(file: str) -> str:
    """Returns the image name of a file: its name without an extension."""
    return file if _is_without_extension(file) else os.path.splitext(file)[0]
