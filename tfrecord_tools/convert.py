"""One source image and its row to one record."""

import functools

from tfrecord_tools import dicom, images, schema, storage, tfrecords

# What a DICOM file's tags say of an image that its row says too.
TAGGED = ("sex", "age_approx", "anatom_site_general_challenge")


def is_dicom(path, data):
    """Tells DICOM by its magic, or by the file's name where the preamble is missing."""
    return data[128:132] == b"DICM" or path.lower().endswith((".dcm", ".dicom"))


def to_record(row, options):
    """Turns one row into a serialized record.

    Args:
        row: Dict of `image_name`, `path`, `offset` and `length` (of a record within the file `path`; `length` 0 for an
            image file) and `integers`, the record's int64 features but for width and height, which are the original's
            where they are not given.
        options: Dict of `image_size`, `resize`, `trim_border`, `color_constancy` (see `images.to_square`) and
            `quality` (1 to 100).

    Returns:
        Bytes, and the names among `TAGGED` on which a DICOM file's tags and the row disagree, or None for no DICOM.

    Raises:
        ValueError: The image cannot be decoded.
        Exception: The file cannot be read; `storage.is_failure` tells.
    """
    square = {name: value for name, value in options.items() if name != "quality"}
    integers, path, disagreements = dict(row["integers"]), row["path"], None
    if row["length"]:
        jpeg = tfrecords.parse(tfrecords.read_at(path, row["offset"], row["length"]))[0]["image"]
        source = f"{path} at byte {row['offset']}"
        if not _is_finished(jpeg, options):
            jpeg, _ = _encode(functools.partial(images.decode, jpeg, source, upright=False), square, options["quality"])
        return schema.to_example(jpeg, row["image_name"], **integers), None
    data = storage.read(path)
    decode = functools.partial(images.decode, data, path)
    if is_dicom(path, data):
        dataset = dicom.read(data, path)
        decode = functools.partial(dicom.decode, dataset, path)
        tags = dicom.read_tags(dataset)
        disagreements = [name for name in TAGGED if schema.encode(name, tags[name]) != integers.get(name, -1)]
    jpeg, (width, height) = _encode(decode, square, options["quality"])
    integers = {"width": width, "height": height} | integers
    return schema.to_example(jpeg, row["image_name"], **integers), disagreements


def to_square(path, options):
    """Decodes an image file to a square.

    Args:
        path: JPEG, PNG or DICOM file.
        options: Dict of the keywords of `images.to_square`.

    Returns:
        uint8 `[image_size, image_size, 3]`, RGB.

    Raises:
        ValueError: The image cannot be decoded.
        Exception: The file cannot be read; `storage.is_failure` tells.
    """
    return images.to_square(open_file(path), **options)[0][..., ::-1]


def open_file(path):
    """Reads an image file, DICOM or any other kind; gives the function that decodes it, see `images.to_square`."""
    data = storage.read(path)
    if is_dicom(path, data):
        return functools.partial(dicom.decode, dicom.read(data, path), path)
    return functools.partial(images.decode, data, path)


def _encode(decode, square, quality):
    image, size = images.to_square(decode, **square)
    return images.encode(image, quality), size


def _is_finished(jpeg, options):
    """Tells whether nothing about a record's pixels would change, so that its JPEG is kept as it is."""
    header = images.jpeg_header(jpeg)
    untouched = not options["trim_border"] and options["color_constancy"] == "none"
    return header is not None and untouched and header[:2] == (options["image_size"],) * 2
