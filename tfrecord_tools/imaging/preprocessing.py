"""Resizes, trims and color-corrects images."""

import cv2
import numpy as np

RESIZE_MODES = ("stretch", "crop", "pad")
COLOR_CONSTANCIES = ("none", "shades_of_gray")
# Brightest channel below which a pixel may belong to a black border: JPEG leaves black at up to about 20.
_BLACK = 28
# Share of black pixels up to which an edge of the picture counts as content.
_EDGE_BLACK = 0.05


def resize_to_square(decode, image_size, resize="stretch", trim_border=False, color_constancy="none"):
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
