"""Reads the headers of BMP and WebP files."""

import dataclasses
import struct

from tfrecord_tools.imaging import exif

_HAS_ANIMATION = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Header:
    """What a file states before its image data.

    Attributes:
        width: Width in pixels, before any rotation.
        height: Height in pixels.
        orientation: As in `exif.read_orientation`.
        problem: Why the image cannot be read right, as text that goes on after "it "; "" if it can.
    """

    width: int
    height: int
    orientation: int = 1
    problem: str = ""


def read_bmp(data: bytes) -> Header | None:
    """Reads the header of a BMP; None if it is damaged."""
    if len(data) < 26:
        return None
    size = struct.unpack_from("<I", data, 14)[0]
    if size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        # Rows from top to bottom have a negative height.
        width, height = struct.unpack_from("<ii", data, 18)
    return Header(width=width, height=abs(height))


def read_webp(data: bytes) -> Header | None:
    """Reads the header of a WebP (RFC 9649); None if it is damaged."""
    kind = data[12:16]
    if len(data) < 30:
        return None
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return Header(width=1 + (bits & 0x3FFF), height=1 + (bits >> 14 & 0x3FFF))
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return Header(width=width & 0x3FFF, height=height & 0x3FFF)
    if kind != b"VP8X":
        return None
    width, height = (1 + int.from_bytes(data[at : at + 3], "little") for at in (24, 27))
    is_animated = data[20] & _HAS_ANIMATION
    problem = "is an animation, expected one image; save the image to use as a file of its own" if is_animated else ""
    return Header(width=width, height=height, orientation=_read_webp_orientation(data), problem=problem)


def _read_webp_orientation(data: bytes) -> int:
    at = 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        if data[at : at + 4] == b"EXIF":
            block = data[at + 8 : at + 8 + length]
            # Some programs repeat the prefix that JPEG files have there.
            return exif.read_orientation(block.removeprefix(b"Exif\0\0"))
        at += 8 + length + length % 2
    return 1
