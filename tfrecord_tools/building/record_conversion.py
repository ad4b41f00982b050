"""Converts one source image and its row to one record."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from tfrecord_tools import schema
from tfrecord_tools.building import dicom_rows
from tfrecord_tools.imaging import codec, dicom, image_files, jpeg_markers, jpeg_metadata, preprocessing
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import tf_example, tfrecord

# What the tags of a DICOM file and the row of the table both state.
TAGGED = ("sex", "age_approx", "anatom_site_general_challenge")
# Stands among them for a DICOM file whose headers leave open whether its pixels are RGB.
COLORS = "colors"

_Decode = Callable[..., tuple[np.ndarray, tuple[int, int]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionOptions:
    """How images are converted, see `preprocessing.resize_to_square`; the manifest lists these options.

    Attributes:
        image_size: Side of the square images, in pixels.
        resize: `stretch`, `crop` or `pad`.
        trim_border: Whether to crop black borders.
        color_constancy: `none` or `shades_of_gray`.
        quality: JPEG quality, 1 to 100.
    """

    image_size: int
    resize: str = "stretch"
    trim_border: bool = False
    color_constancy: str = "none"
    quality: int = 95


def to_record(
    row: Mapping[str, Any], options: ConversionOptions, limits: image_limits.ImageLimits = image_limits.DEFAULTS
) -> tuple[bytes, list[str] | None]:
    """Converts one row to a serialized record.

    Args:
        row: Mapping with `image_name`; `path`, `offset` and `length` of a record within a shard (`length` is 0 for an
            image file); and `integers`, the record's int64 features except width and height. If width and height are
            not among them, they are those of the original image.
        options: `ConversionOptions`.
        limits: What the decoding of an image may take.

    Returns:
        The record's bytes; and the names among `TAGGED` on which the tags of a DICOM file and the row disagree, and
        `COLORS` where its headers leave its colors open, or None if the source is not a DICOM file.

    Raises:
        CorruptRecordError: The image cannot be decoded.
        Exception: The file cannot be read, see `filesystem.is_failure`.
    """
    if row["length"]:
        return _convert_record(row, options, limits), None
    path = row["path"]
    integers = row["integers"]
    data = image_files.read_file(path, limits)
    decode = image_files.make_decoder(data, path, limits)
    disagreements = None
    notes: list[str] = []
    if image_files.is_dicom(path, data):
        dataset = dicom.read(data, path, limits)
        decode = functools.partial(dicom.decode, dataset, path, limits=limits, notes=notes)
        tags = dicom_rows.read_tags(dataset)
        disagreements = [
            name for name in TAGGED if schema.encode(name, tags[name]) != integers.get(name, schema.UNKNOWN)
        ]
    jpeg, (width, height) = _encode(decode, options)
    if disagreements is not None and notes:
        disagreements.append(COLORS)
    record = tf_example.to_example(jpeg, row["image_name"], **{"width": width, "height": height, **integers})
    return record, disagreements


def _convert_record(row: Mapping[str, Any], options: ConversionOptions, limits: image_limits.ImageLimits) -> bytes:
    """Converts a record of another set; its JPEG is kept, without metadata, if nothing about the pixels changes."""
    features, _ = tfrecord.parse(tfrecord.read_at(row["path"], row["offset"], row["length"]))
    original = features["image"]
    source = f"{row['path']} at byte {row['offset']}"
    decode = functools.partial(codec.decode_record, original, source, limits=limits)
    jpeg = None
    if _is_finished(original, options):
        # Finds damage; an eighth of the size is enough, since all bytes are read.
        decode(at_least=1)
        jpeg = jpeg_metadata.strip_metadata(original)
    if jpeg is None:
        jpeg, _ = _encode(decode, options)
    return tf_example.to_example(jpeg, row["image_name"], **row["integers"])


def _encode(decode: _Decode, options: ConversionOptions) -> tuple[bytes, tuple[int, int]]:
    """Returns the square JPEG, and the (width, height) of the original image."""
    image, size = preprocessing.resize_to_square(
        decode,
        image_size=options.image_size,
        resize=options.resize,
        trim_border=options.trim_border,
        color_constancy=options.color_constancy,
    )
    return codec.encode(image, options.quality), size


def _is_finished(jpeg: bytes, options: ConversionOptions) -> bool:
    """Returns whether a record's JPEG already is what the options ask for."""
    if options.trim_border or options.color_constancy != "none":
        return False
    header = jpeg_markers.read_header(jpeg)
    if header is None or header.orientation != 1:
        return False
    return (header.width, header.height) == (options.image_size, options.image_size)
