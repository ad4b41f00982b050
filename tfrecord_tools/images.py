"""Image bytes in, image bytes out: decode at a scale, trim, resize, correct colours, encode."""

import os

MAX_PIXELS = 2**28
# OpenCV reads this when it loads; its own limit is four times as high.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(MAX_PIXELS))

import cv2  # noqa: E402
import numpy as np  # noqa: E402

RESIZE_MODES = ("stretch", "crop", "pad")
COLOR_CONSTANCIES = ("none", "shades_of_gray")
# One image is one process's work; the callers run several images at once.
cv2.setNumThreads(1)
_SCALED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
# Brightest channel below which a pixel may belong to a black border: JPEG leaves black at up to about 20.
_BLACK = 28
# Share of black pixels up to which an edge of the picture counts as content.
_EDGE_BLACK = 0.05


def jpeg_header(data):
    """Reads a JPEG's size without decoding it, and whether it says what its channels are.

    Args:
        data: The file's bytes.

    Returns:
        (width, height, says_colour), or None for no JPEG. `says_colour` is False where neither a JFIF or Adobe marker
        nor the component identifiers tell RGB from YCbCr (libjpeg's rule, jdapimin.c), so that it has to guess.
    """
    if data[:2] != b"\xff\xd8":
        return None
    at, size, says_colour = 2, None, False
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        body = data[at + 4 : at + 2 + length]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC) and len(body) >= 6:
            size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
            says_colour |= body[5] != 3 or body[6:15:3] in (b"\1\2\3", b"RGB")
        says_colour |= marker == 0xE0 and body[:5] == b"JFIF\0"
        says_colour |= marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12
        if marker == 0xDA:
            break
        at += 2 + length
    return None if size is None else (*size, says_colour)


def decode(data, source, at_least=None, longest=False, upright=True):
    """Decodes a JPEG or PNG file, a JPEG at the smallest scale that is large enough.

    The inverse DCT itself scales by 1/2, 1/4 or 1/8 (libjpeg), which takes a fraction of a full decode's time and is
    an area average of it but for rounding.

    Args:
        data: The file's bytes.
        source: What to call it in an error.
        at_least: Pixels that the shorter side must keep where the image has them; None for no scaling.
        longest: Whether `at_least` is asked of the longer side instead.
        upright: Whether to turn the image upright where EXIF says so.

    Returns:
        uint8 `[height, width, 3]`, BGR as OpenCV has it, and the (width, height) it has without scaling.

    Raises:
        ValueError: The bytes are no whole image, or one of more than 2^28 pixels.
    """
    header = jpeg_header(data)
    # libjpeg fills what is missing of a truncated file with grey and, in OpenCV 4, only warns.
    # The end of image must follow the last start of scan (an earlier one is a thumbnail's); cameras append data to it.
    end = data.rfind(b"\xff\xd9")
    truncated = data[:2] == b"\xff\xd8" and (end < 0 or data.find(b"\xff\xda", end) >= 0)
    if header and header[0] * header[1] > MAX_PIXELS:
        raise ValueError(f"{source} has {header[0]}x{header[1]} pixels, more than {MAX_PIXELS}; shrink it")
    scale = _scale(header[:2], at_least, longest) if header and at_least else 1
    flags = _SCALED[scale] | (0 if upright else cv2.IMREAD_IGNORE_ORIENTATION)
    try:
        image = None if truncated or not data else cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise ValueError(f"{source} cannot be decoded: {error.err or 'too large'}; replace the file") from error
    if image is None:
        kind = "is truncated" if truncated else "is no whole JPEG or PNG file"
        raise ValueError(f"{source} {kind} ({len(data)} bytes); replace the file or take its row from the table")
    height, width = image.shape[:2]
    if height * width > MAX_PIXELS:
        raise ValueError(f"{source} has {width}x{height} pixels, more than {MAX_PIXELS}; shrink it")
    if scale == 1:
        return image, (width, height)
    turned = (width, height) != (-(-header[0] // scale), -(-header[1] // scale))
    return image, header[1::-1] if turned else header[:2]


def _scale(size, at_least, longest):
    """Gives the greatest of 1, 2, 4 and 8 that leaves enough pixels; libjpeg rounds a scaled side up."""
    side = max(size) if longest else min(size)
    return max((scale for scale in (2, 4, 8) if -(-side // scale) >= at_least), default=1)


def to_square(decode, image_size, resize="stretch", trim_border=False, color_constancy="none"):
    """Decodes an image and makes it a square of one size.

    Args:
        decode: Function from the keywords `at_least` and `longest` to what `decode` returns.
        image_size: Side in pixels.
        resize: `stretch` to the square, `crop` the centre square, or `pad` the shorter side with black.
        trim_border: Whether to cut off a black frame, or what a black circle leaves dark, first; see `find_content`.
        color_constancy: `none` or `shades_of_gray`.

    Returns:
        uint8 `[image_size, image_size, 3]`, BGR, and the original's (width, height).
    """
    longest = resize == "pad"
    image, size = decode(at_least=image_size, longest=longest)
    if trim_border:
        top, bottom, left, right = find_content(image)
        kept = min(bottom - top, right - left)
        if kept < 1:
            image, size = decode(at_least=int(np.ceil(image_size / kept)), longest=longest)
        height, width = image.shape[:2]
        image = image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    image = _resize(image, image_size, resize)
    if color_constancy == "shades_of_gray":
        image = shades_of_gray(image)
    return pad(image, image_size), size


def _resize(image, size, mode):
    """Resizes to `size`, averaging where that shrinks, bicubic where it grows; `pad` leaves the shape as it is."""
    height, width = image.shape[:2]
    shape = (size, size)
    if mode == "crop":
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        image = image[top : top + side, left : left + side]
    elif mode == "pad":
        shape = tuple(max(1, round(side * size / max(height, width))) for side in (height, width))
    if image.shape[:2] == shape:
        return image
    return _shrink(image, shape) if image.shape[0] >= shape[0] and image.shape[1] >= shape[1] else _grow(image, shape)


def _grow(image, shape):
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _shrink(image, shape):
    """Averages areas, for the moderate factors that a scaled decode leaves by a box blur and bilinear interpolation.

    That is five times as fast as OpenCV's area average and, on the real images, as near to a Lanczos resize.
    """
    factors = image.shape[0] / shape[0], image.shape[1] / shape[1]
    if max(factors) > 3.5:
        return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    rows, columns = (3 if factor >= 2.4 else 1 for factor in factors)
    image = cv2.blur(image, (columns, rows)) if rows + columns > 2 else image
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR_EXACT)


def pad(image, size):
    """Centres an image, uint8 `[height, width, 3]`, on a black square of a side not below its own."""
    rows, columns = size - image.shape[0], size - image.shape[1]
    edges = rows // 2, rows - rows // 2, columns // 2, columns - columns // 2
    return cv2.copyMakeBorder(image, *edges, cv2.BORDER_CONSTANT) if rows or columns else image


def find_content(image):
    """Finds the part of an image inside a black frame or circle.

    Black pixels count that hang together with the edge of the image. The edge line with the greatest share of them is
    taken off, one after another, until every edge has at most 5 %; so a frame goes, and of a circle little more than
    the square within it is left. Two fifths of either side always stay: the square in a circle as high as a 3:2 picture
    is almost half as wide as that.

    Args:
        image: uint8 `[height, width, 3]`.

    Returns:
        (top, bottom, left, right) as fractions of the sides, 0 to 1.
    """
    scale = min(1.0, 256 / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    framed = cv2.copyMakeBorder((small.max(axis=2) < _BLACK).astype(np.uint8), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    # What is black and joined to the frame around it carries the frame's label.
    labels = cv2.connectedComponents(framed, connectivity=4)[1]
    black = labels[1:-1, 1:-1] == labels[0, 0]
    height, width = black.shape
    top, bottom, left, right = 0, height, 0, width
    while True:
        part = black[top:bottom, left:right]
        shares = np.array([part[0].mean(), part[-1].mean(), part[:, 0].mean(), part[:, -1].mean()])
        shares[:2] *= 5 * (bottom - top - 3) >= 2 * height
        shares[2:] *= 5 * (right - left - 3) >= 2 * width
        worst = int(np.argmax(shares))
        if shares[worst] <= _EDGE_BLACK:
            break
        top, bottom = top + (worst == 0), bottom - (worst == 1)
        left, right = left + (worst == 2), right - (worst == 3)
    # The line next to one taken off may be black in part of its width.
    top, bottom = top + (top > 0), bottom - (bottom < height)
    left, right = left + (left > 0), right - (right < width)
    return top / height, bottom / height, left / width, right / width


def shades_of_gray(image, power=6):
    """Corrects the colour of the light by shades of gray (Finlayson and Trezzi, 2004; p = 6 as for dermoscopy).

    The light's colour is each channel's Minkowski mean of order p; channels are divided by it so that their overall
    brightness, the root mean square of the three, stays.

    Args:
        image: uint8 `[height, width, 3]`.
        power: Order p of the mean.

    Returns:
        uint8 `[height, width, 3]`.
    """
    # Through a histogram, each level is raised to the power once.
    levels = np.arange(256.0) ** power
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in cv2.split(image)])
    light = np.maximum((counts @ levels / counts.sum(axis=1)) ** (1 / power), 1e-6)
    gains = np.sqrt(np.mean(light**2)) / light
    table = np.clip(np.rint(np.arange(256)[:, None] * gains), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])


def encode(image, quality):
    """Encodes BGR uint8 `[height, width, 3]` as JPEG bytes of a quality from 1 to 100."""
    return cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
