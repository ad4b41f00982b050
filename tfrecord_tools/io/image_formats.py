"""Recognizes the formats of image files by their first bytes."""

import re

# The formats that records may hold, since training decodes them.
TRAINED = ("JPEG", "PNG")
_SIGNATURES = {
    "JPEG": rb"\xff\xd8",
    "PNG": rb"\x89PNG\r\n\x1a\n",
    "GIF": rb"GIF8",
    "BMP": rb"BM",
    "WebP": rb"RIFF....WEBP",
    "TIFF": rb"II[*+]\x00|MM\x00[*+]",
    "JPEG 2000": rb"\x00\x00\x00\x0cjP  |\xff\x4f\xff\x51",
    "JPEG XL": rb"\x00\x00\x00\x0cJXL |\xff\x0a",
    "HEIF": rb"....ftyp(?:hei|hev|mif1|msf1|avif)",
    "DICOM": rb".{128}DICM",
}


def find_format(data: bytes) -> str:
    """Recognizes the format of an image file.

    Args:
        data: Bytes of the file, at least the first 132 where there are as many.

    Returns:
        Name of the format, such as `JPEG`; "" if it is none of the known ones.

    Examples:
        >>> find_format(b"GIF89a and so on")
        'GIF'
    """
    for name, signature in _SIGNATURES.items():
        if re.match(signature, data[:132], re.DOTALL):
            return name
    return ""


def describe_format(data: bytes) -> str:
    """Returns why an image cannot be part of a record, or "" if it is a JPEG or PNG, intact or damaged.

    Args:
        data: Bytes of the image.

    Returns:
        Text that goes on after "image", such as "is a BMP, expected JPEG or PNG".
    """
    found = find_format(data)
    if found in TRAINED:
        return ""
    if not data:
        return "is empty, expected JPEG or PNG"
    kind = f"is a {found} file" if found else "has an unknown format"
    return kind + ", expected JPEG or PNG"
