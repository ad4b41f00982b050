"""Reads the chunks of a PNG: its size, its orientation, and whether its bytes are those that were written."""

import dataclasses
import zlib
from collections.abc import Iterator

from tfrecord_tools.imaging import exif

SIGNATURE = b"\x89PNG\r\n\x1a\n"
# Samples per pixel by color type: gray, RGB, palette, gray with alpha, RGB with alpha.
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


@dataclasses.dataclass(frozen=True, kw_only=True)
class PngHeader:
    """What a PNG states before its image data.

    Attributes:
        width: Width in pixels, before any rotation.
        height: Height in pixels.
        num_bytes: Bytes of the decompressed image data.
    """

    width: int
    height: int
    num_bytes: int


def read_header(data: bytes) -> PngHeader | None:
    r"""Reads the header of a PNG.

    Args:
        data: Bytes of the file.

    Returns:
        `PngHeader`; None if the bytes are not a PNG.

    Examples:
        >>> read_header(b"\xff\xd8\xff\xe0") is None
        True
    """
    if data[:8] != SIGNATURE or data[12:16] != b"IHDR" or len(data) < 33:
        return None
    width = int.from_bytes(data[16:20], "big")
    height = int.from_bytes(data[20:24], "big")
    bits = data[24] * _SAMPLES.get(data[25], 4)
    # One byte more per row states its filter.
    return PngHeader(width=width, height=height, num_bytes=height * (1 + (width * bits + 7) // 8))


def find_damage(data: bytes) -> str:
    """Compares the chunks of a PNG with their checksums.

    Args:
        data: Bytes of a PNG file.

    Returns:
        What is wrong, or "".
    """
    for kind, at, end in _chunks(data):
        if end + 4 > len(data):
            return f"is truncated in its chunk {kind}"
        if zlib.crc32(data[at - 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return f"is damaged in its chunk {kind}: its checksum differs"
        if kind == "IEND":
            return ""
    return "is truncated: it has no last chunk"


def read_orientation(data: bytes) -> int:
    """Reads the orientation in the EXIF chunk of a PNG.

    Args:
        data: Bytes of a PNG file.

    Returns:
        See `exif.read_orientation`.
    """
    for kind, at, end in _chunks(data):
        if kind == "eXIf":
            return exif.read_orientation(data[at:end])
        if kind == "IEND":
            break
    return 1


def _chunks(data: bytes) -> Iterator[tuple[str, int, int]]:
    """Yields the kind of each chunk, and where its content starts and ends."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        yield data[at + 4 : at + 8].decode("latin-1"), at + 8, end
        at = end + 4
