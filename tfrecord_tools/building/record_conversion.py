"""Converts one source image and its row into one record."""

import functools

from tfrecord_tools import schema
from tfrecord_tools.imaging import codec, dicom, image_files, preprocessing
from tfrecord_tools.io import filesystem, tf_example, tfrecord

# What a DICOM file's tags say of an image that its row says too.
TAGGED = ("sex", "age_approx", "anatom_site_general_challenge")


def to_record(row, options):
    """Turns one row into a serialized record.

    Args:
        row: Dict of `image_name`, `path`, `offset` and `length` (of a record within the file `path`; `length` 0 for an
            image file) and `integers`, the record's int64 features but for width and height, which are the original's
            where they are not given.
        options: Dict of `image_size`, `resize`, `trim_border`, `color_constancy` (see `preprocessing.resize_to_square`) and
            `quality` (1 to 100).

    Returns:
        Bytes, and the names among `TAGGED` on which a DICOM file's tags and the row disagree, or None for no DICOM.

    Raises:
        ValueError: The image cannot be decoded.
        Exception: The file cannot be read; `filesystem.is_failure` tells.
    """
    square = {name: value for name, value in options.items() if name != "quality"}
    integers, path, disagreements = dict(row["integers"]), row["path"], None
    if row["length"]:
        jpeg = tfrecord.parse(tfrecord.read_at(path, row["offset"], row["length"]))[0]["image"]
        source = f"{path} at byte {row['offset']}"
        if not _is_finished(jpeg, options):
            jpeg, _ = _encode(functools.partial(codec.decode, jpeg, source, upright=False), square, options["quality"])
        return tf_example.to_example(jpeg, row["image_name"], **integers), None
    data = filesystem.read(path)
    decode = functools.partial(codec.decode, data, path)
    if image_files.is_dicom(path, data):
        dataset = dicom.read(data, path)
        decode = functools.partial(dicom.decode, dataset, path)
        tags = dicom.read_tags(dataset)
        disagreements = [name for name in TAGGED if schema.encode(name, tags[name]) != integers.get(name, -1)]
    jpeg, (width, height) = _encode(decode, square, options["quality"])
    integers = {"width": width, "height": height} | integers
    return tf_example.to_example(jpeg, row["image_name"], **integers), disagreements


def _encode(decode, square, quality):
    image, size = preprocessing.resize_to_square(decode, **square)
    return codec.encode(image, quality), size


def _is_finished(jpeg, options):
    """Tells whether nothing about a record's pixels would change, so that its JPEG is kept as it is."""
    header = codec.jpeg_header(jpeg)
    untouched = not options["trim_border"] and options["color_constancy"] == "none"
    return header is not None and untouched and header[:2] == (options["image_size"],) * 2
