"""Finds and opens image files: JPEG, PNG or DICOM."""

import functools
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, preprocessing
from tfrecord_tools.io import filesystem

EXTENSIONS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")
_DICOM_EXTENSIONS = (".dcm", ".dicom")


def is_dicom(path: str, data: bytes) -> bool:
    """Returns whether a file is DICOM: by its magic bytes, or by its extension where the preamble is missing.

    Args:
        path: Path of the file.
        data: Bytes of the file.
    """
    return data[128:132] == b"DICM" or path.lower().endswith(_DICOM_EXTENSIONS)


def prepare_image(path: str, options: Mapping[str, Any]) -> np.ndarray:
    """Decodes an image file to a square, as `tfrecord_tools.build` does.

    Args:
        path: JPEG, PNG or DICOM file.
        options: Keyword arguments of `preprocessing.resize_to_square`, for example `{"image_size": 384}`.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB.

    Raises:
        CorruptRecordError: The image cannot be decoded.
        OSError: The file cannot be read; in a bucket an error of TensorFlow, see `filesystem.is_failure`.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile(suffix=".jpg") as file:
        ...     _ = file.write(codec.encode(np.zeros((48, 64, 3), np.uint8), quality=95))
        ...     file.flush()
        ...     prepare_image(file.name, {"image_size": 32, "resize": "crop"}).shape
        (32, 32, 3)
    """
    image, _ = preprocessing.resize_to_square(open_file(path), **options)
    return image[..., ::-1]


def open_file(path: str) -> Callable[..., tuple[np.ndarray, tuple[int, int]]]:
    """Reads an image file: JPEG, PNG or DICOM.

    Args:
        path: Path of the file.

    Returns:
        Function that decodes the image, see the argument `decode` of `preprocessing.resize_to_square`.

    Raises:
        CorruptRecordError: The file is DICOM by its name, and cannot be parsed.
    """
    data = filesystem.read(path)
    if is_dicom(path, data):
        return functools.partial(dicom.decode, dicom.read(data, path), path)
    return functools.partial(codec.decode, data, path)


def find_images(directory: str, split: str) -> dict[str, list[str]]:
    """Finds the image files of one split.

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
        for file in filesystem.listdir(place):
            name, extension = os.path.splitext(file)
            if extension.lower() in EXTENSIONS:
                paths.setdefault(name, []).append(os.path.join(place, file))
    return paths
