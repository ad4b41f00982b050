"""Removes from a JPEG what does not change its pixels, without encoding it again."""

from tfrecord_tools.imaging import jpeg_markers

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_COMMENT = 0xFE


def strip_metadata(data: bytes) -> bytes | None:
    r"""Removes EXIF, comments, profiles, thumbnails, and what follows the image.

    Of the application segments, those that determine the colors stay: JFIF, without its thumbnail, and Adobe. The image
    data are copied. A JPEG without metadata keeps its bytes.

    Args:
        data: Bytes of an intact JPEG.

    Returns:
        Bytes of a JPEG with the same pixels; None if the segments cannot be told apart.

    Examples:
        >>> start, image, end = b"\xff\xd8", b"\xff\xda\x00\x02data", b"\xff\xd9"
        >>> strip_metadata(start + b"\xff\xfe\x00\x05Doe" + image + end + b"Jane") == start + image + end
        True
    """
    parts = [_START]
    at = len(_START)
    if data[:at] != _START:
        return None
    while data[at : at + 1] == b"\xff" and data[at : at + 2] != _END:
        marker = data[at + 1]
        if marker == 0xFF:
            at += 1
            continue
        end = at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == jpeg_markers.SCAN:
            found = jpeg_markers.NEXT_MARKER.search(data, end)
            if found is None:
                return None
            end = found.start()
        parts.append(_reduce(marker, data[at:end]))
        at = end
    if data[at : at + 2] != _END:
        return None
    return b"".join([*parts, _END])


def _reduce(marker: int, segment: bytes) -> bytes:
    """Returns what is kept of a segment."""
    content = segment[4:]
    if marker == 0xE0 and content[:5] == b"JFIF\0" and len(content) >= 14:
        return segment if len(content) == 14 else b"\xff\xe0\x00\x10" + content[:12] + b"\0\0"
    if marker == 0xEE and content[:5] == b"Adobe" and len(content) >= 12:
        return b"\xff\xee\x00\x0e" + content[:12]
    is_metadata = 0xE0 <= marker <= 0xEF or marker == _COMMENT
    return b"" if is_metadata else segment
