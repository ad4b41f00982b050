"""Makes small image files for tests: with EXIF, comments, CMYK, damage."""

import zlib

import cv2
import numpy as np

from tfrecord_tools.imaging import codec

NOISE = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
# 48x64 pixels, smooth and of all colors.
SMOOTH = cv2.resize(NOISE, (64, 48), interpolation=cv2.INTER_CUBIC)


def exif_block(orientation: int, little: bool = False) -> bytes:
    """EXIF data of a maker and an orientation."""
    order = "little" if little else "big"

    def entry(tag: int, kind: int, count: int, value: bytes) -> bytes:
        return tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + value

    maker = entry(0x010F, 2, 4, b"abc\0")
    turn = entry(0x0112, 3, 1, orientation.to_bytes(2, order) + bytes(2))
    start = (b"II*\0" if little else b"MM\0*") + (8).to_bytes(4, order) + (2).to_bytes(2, order)
    return start + maker + turn + bytes(4)


def segment(marker: int, content: bytes) -> bytes:
    """A segment of a JPEG."""
    return b"\xff" + bytes([marker]) + (len(content) + 2).to_bytes(2, "big") + content


def jpeg(image: np.ndarray = SMOOTH, quality: int = 95, segments: bytes = b"", after: bytes = b"") -> bytes:
    """A JPEG with further segments after its JFIF marker, and bytes after its end."""
    data = codec.encode(image, quality)
    return data[:20] + segments + data[20:] + after


def rotated_jpeg(orientation: int, image: np.ndarray = SMOOTH, little: bool = False) -> bytes:
    """A JPEG that EXIF turns."""
    return jpeg(image, segments=segment(0xE1, b"Exif\0\0" + exif_block(orientation, little)))


def png(image: np.ndarray = SMOOTH) -> bytes:
    """A PNG."""
    return cv2.imencode(".png", image)[1].tobytes()


def rotated_png(orientation: int, image: np.ndarray = SMOOTH) -> bytes:
    """A PNG that EXIF turns."""
    data = png(image)
    block = exif_block(orientation)
    chunk = b"eXIf" + block
    return data[:33] + len(block).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") + data[33:]


def _gray(level: int, height: int = 16, width: int = 16) -> bytes:
    return cv2.imencode(".jpg", np.full((height, width), level, np.uint8))[1].tobytes()


def cmyk_jpeg(marked: bool, level: int = 200) -> bytes:
    """A CMYK JPEG of one color, inverted as Adobe writes it: cyan is `level`, the others are 255, without ink."""
    adobe = segment(0xEE, b"Adobe\x00\x64\x00\x00\x00\x00\x00") if marked else b""
    return _join_components([_gray(level), _gray(255), _gray(255), _gray(255)], (0x11,) * 4, adobe)


def unusual_jpeg(level: int = 120) -> bytes:
    """A gray-looking color JPEG whose chroma subsampling, three to one, has no name."""
    files = [_gray(level, 24, 48), _gray(128, 24, 16), _gray(128, 24, 16)]
    return _join_components(files, (0x31, 0x11, 0x11))


def bare_jpeg(image: np.ndarray, identifiers: bytes = b"\1\2\3") -> bytes:
    """A JPEG of BGR without a JFIF marker; libjpeg takes its channels for YCbCr."""
    data = bytearray(codec.encode(image, 95))
    del data[2:20]
    frame = data.index(b"\xff\xc0")
    data[frame + 10 : frame + 19 : 3] = identifiers
    scan = data.index(b"\xff\xda")
    data[scan + 5 : scan + 11 : 2] = identifiers
    return bytes(data)


def _join_components(files: list[bytes], factors: tuple[int, ...], segments: bytes = b"") -> bytes:
    """Joins gray JPEG files, whose tables are the same, to one of as many components, with a scan for each."""
    data = files[0]
    frame = data.index(b"\xff\xc0")
    components = b"".join(bytes([number + 1, factor, 0]) for number, factor in enumerate(factors))
    header = segment(0xC0, b"\x08" + data[frame + 5 : frame + 9] + bytes([len(files)]) + components)
    # The frame header of a single component has 13 bytes.
    tables = data[20:frame] + data[frame + 13 : data.index(b"\xff\xda")]
    scans = []
    for number, file in enumerate(files):
        content = file[file.index(b"\xff\xda") + 10 : -2]
        scans.append(segment(0xDA, bytes([1, number + 1, 0, 0, 63, 0])) + content)
    return b"\xff\xd8" + segments + tables + header + b"".join(scans) + b"\xff\xd9"


def raw_rgb_jpeg(image: np.ndarray) -> bytes:
    """A JPEG whose three channels are the RGB of a BGR image, without a marker and with components 1, 2, 3."""
    channels = [cv2.imencode(".jpg", np.ascontiguousarray(image[..., number]))[1].tobytes() for number in (2, 1, 0)]
    return _join_components(channels, (0x11,) * 3)
