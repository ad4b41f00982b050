"""Finds and opens image files: JPEG, PNG or DICOM."""

import functools
import os

from tfrecord_tools import errors
from tfrecord_tools.imaging import codec, dicom, preprocessing
from tfrecord_tools.io import filesystem


def is_dicom(path, data):
    """Tells DICOM by its magic, or by the file's name where the preamble is missing."""
    return data[128:132] == b"DICM" or path.lower().endswith((".dcm", ".dicom"))


def prepare_image(path, options):
    """Decodes an image file to a square.

    Args:
        path: JPEG, PNG or DICOM file.
        options: Dict of the keywords of `preprocessing.resize_to_square`.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB.

    Raises:
        IsicError: The image cannot be decoded.
        Exception: The file cannot be read; `filesystem.is_failure` tells.
    """
    return preprocessing.resize_to_square(open_file(path), **options)[0][..., ::-1]


def open_file(path):
    """Reads an image file, DICOM or any other kind; gives the function that decodes it, see `preprocessing.resize_to_square`."""
    data = filesystem.read(path)
    if is_dicom(path, data):
        return functools.partial(dicom.decode, dicom.read(data, path), path)
    return functools.partial(codec.decode, data, path)


EXTENSIONS = (".jpg", ".jpeg", ".png", ".dcm", ".dicom")


def find_images(folder, split):
    """Finds the image files of one split.

    Args:
        folder: Folder that holds them, directly or in a folder named like the split.
        split: `train` or `test`.

    Returns:
        Dict from image name to the paths of that name (more than one where `x.jpg` lies beside `x.png`).

    Raises:
        IsicError: The folder does not exist.
    """
    if not filesystem.isdir(folder):
        raise errors.IsicError(f"expected a folder of images at {folder}, found none; check --images")
    paths = {}
    for place in (folder, os.path.join(folder, split)):
        for file in filesystem.listdir(place):
            name, extension = os.path.splitext(file)
            if extension.lower() in EXTENSIONS:
                paths.setdefault(name, []).append(os.path.join(place, file))
    return paths
