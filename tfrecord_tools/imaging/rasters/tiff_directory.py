"""Reads the directories of a TIFF: the size and layout of its image, and how many images it holds."""

import dataclasses
import struct
from collections.abc import Iterator

# Tags of TIFF 6.0.
_SUBFILE_TYPE = 254
_WIDTH = 256
_HEIGHT = 257
_BITS = 258
_COMPRESSION = 259
_PHOTOMETRIC = 262
_ORIENTATION = 274
_SAMPLES = 277
_INK_SET = 332
_EXTRA_SAMPLES = 338
_SAMPLE_FORMAT = 339
_UNASSOCIATED_ALPHA = 2
_IS_REDUCED = 1
# Kinds of values that are whole numbers: bytes of each.
_SIZES = {1: 1, 3: 2, 4: 4, 16: 8}
_SMALL_FORMS = {1: "B", 2: "H", 4: "I", 8: "Q"}
_MOST_DIRECTORIES = 1000
_MOST_ENTRIES = 4096
_GRAY = (0, 1)
_RGB = 2
_PALETTE = 3
_CMYK = 5
_YCBCR = 6


@dataclasses.dataclass(frozen=True, kw_only=True)
class TiffImage:
    """What the first directory of a TIFF states, and how many other images there are.

    Attributes:
        width: Width in pixels, before any rotation.
        height: Height in pixels.
        bits: Bits of a sample.
        samples: Samples of a pixel.
        photometric: How samples become colors, as in TIFF 6.0.
        orientation: As in `exif.read_orientation`.
        is_compressed: Whether the image data are compressed.
        num_images: Images of full size in the file.
        problem: Why the image cannot be read right, as text that goes on after "it "; "" if it can.
    """

    width: int
    height: int
    bits: int
    samples: int
    photometric: int
    orientation: int
    is_compressed: bool
    num_images: int
    problem: str


def read(data: bytes) -> TiffImage | None:
    """Reads the directories of a TIFF.

    Args:
        data: Bytes of the file.

    Returns:
        `TiffImage`; None if its first directory is damaged.
    """
    directories = list(_read_directories(data))
    if not directories:
        return None
    first = {tag: value for tag, (value, _) in directories[0].items()}
    num_images = sum(not entry.get(_SUBFILE_TYPE, (0, 0))[0] & _IS_REDUCED for entry in directories)
    orientation = first.get(_ORIENTATION, 1)
    image = TiffImage(
        width=first.get(_WIDTH, 0),
        height=first.get(_HEIGHT, 0),
        bits=first.get(_BITS, 1),
        samples=first.get(_SAMPLES, 1),
        photometric=first.get(_PHOTOMETRIC, _RGB),
        orientation=orientation if 1 <= orientation <= 8 else 1,
        is_compressed=first.get(_COMPRESSION, 1) != 1,
        num_images=num_images,
        problem="",
    )
    return dataclasses.replace(image, problem=_find_problem(image, first))


def _find_problem(image: TiffImage, first: dict[int, int]) -> str:
    if image.num_images > 1:
        return f"holds {image.num_images} images, expected one; save the image to use as a file of its own"
    if first.get(_SUBFILE_TYPE, 0) & _IS_REDUCED:
        return "opens with a preview, expected the image itself; save it as a file of its own"
    if first.get(_SAMPLE_FORMAT, 1) != 1:
        return "holds signed or floating-point samples, expected whole numbers; convert it to 8 bits"
    allowed = {_RGB: (8, 16), _PALETTE: (1, 2, 4, 8), _CMYK: (8,), _YCBCR: (8,)}
    bits = (1, 2, 4, 8, 16) if image.photometric in _GRAY else allowed.get(image.photometric, ())
    if image.bits not in bits or (image.photometric == _CMYK and first.get(_INK_SET, 1) != 1):
        kinds = {0: "gray", 1: "gray", 2: "RGB", 3: "palette", 5: "inks", 6: "YCbCr", 8: "CIE L*a*b*", 9: "ICC L*a*b*"}
        kind = kinds.get(image.photometric, f"photometric interpretation {image.photometric}")
        return (
            f"holds {kind} samples of {image.bits} bits, expected gray or RGB of 8 or 16 bits, a palette, or CMYK or "
            "YCbCr of 8 bits; convert it"
        )
    return ""


def neutralize(data: bytes) -> bytes:
    """Returns the same TIFF as one that a decoder neither turns nor darkens by its opacity, which others ignore too.

    Args:
        data: Bytes of a TIFF that `read` could read.

    Returns:
        Bytes of the file, whose first directory states no orientation and an extra sample of unknown meaning.
    """
    changed = bytearray(data)
    for directory in _read_directories(data):
        for tag, wrong, value in ((_ORIENTATION, None, 1), (_EXTRA_SAMPLES, _UNASSOCIATED_ALPHA, 0)):
            found, at = directory.get(tag, (0, 0))
            if at and found != value and wrong in (None, found):
                changed[at : at + 2] = struct.pack("<H" if data[:1] == b"I" else ">H", value)
        break
    return bytes(changed)


def _read_directories(data: bytes) -> Iterator[dict[int, tuple[int, int]]]:
    """Yields of each directory the first value of each tag of whole numbers, and its place in the file."""
    order = "<" if data[:1] == b"I" else ">"
    is_big = data[2:4] in (b"+\0", b"\0+")
    offset_size = 8 if is_big else 4
    try:
        at = _unpack(data, order, 8 if is_big else 4, offset_size)
        visited: set[int] = set()
        while at and at not in visited and len(visited) < _MOST_DIRECTORIES:
            visited.add(at)
            count_size, entry_size = (8, 20) if is_big else (2, 12)
            count = min(_unpack(data, order, at, count_size), _MOST_ENTRIES)
            start = at + count_size
            yield _read_entries(data, order, start, count, entry_size, offset_size)
            at = _unpack(data, order, start + count * entry_size, offset_size)
    except struct.error:
        return


def _read_entries(
    data: bytes, order: str, start: int, count: int, entry_size: int, offset_size: int
) -> dict[int, tuple[int, int]]:
    entries = {}
    for place in range(start, start + count * entry_size, entry_size):
        tag, kind = struct.unpack_from(f"{order}HH", data, place)
        size = _SIZES.get(kind)
        if size is None:
            continue
        number = _unpack(data, order, place + 4, offset_size)
        at = place + 4 + offset_size
        if number * size > offset_size:
            at = _unpack(data, order, at, offset_size)
        if 0 < at <= len(data) - size:
            entries[tag] = (_unpack(data, order, at, size), at)
    return entries


def _unpack(data: bytes, order: str, at: int, size: int) -> int:
    if at + size > len(data):
        raise struct.error("beyond the end")
    number: int = struct.unpack_from(f"{order}{_SMALL_FORMS[size]}", data, at)[0]
    return number
