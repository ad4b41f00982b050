"""Resizes, trims and color-corrects images."""

from collections.abc import Callable

import cv2
import numpy as np

# Brightest channel below which a pixel may belong to a black border: JPEG leaves black at up to about 20.
_BLACK = 28
# Fraction of black pixels up to which an edge of the image counts as content.
_EDGE_BLACK = 0.05
# Longer side in pixels at which borders are searched.
_SEARCH_SIDE = 256


def resize_to_square(
    decode: Callable[..., tuple[np.ndarray, tuple[int, int]]],
    image_size: int,
    resize: str = "stretch",
    trim_border: bool = False,
    color_constancy: str = "none",
) -> tuple[np.ndarray, tuple[int, int]]:
    """Decodes an image and makes it a square.

    Args:
        decode: Function with the keyword arguments `at_least` and `longest` that returns what `codec.decode` returns.
        image_size: Side of the square in pixels.
        resize: `stretch` to the square, `crop` to the center square, or `pad` the shorter side with black.
        trim_border: Whether to cut off black borders before resizing; see `find_content`.
        color_constancy: `none` or `shades_of_gray`.

    Returns:
        uint8 `[image_size, image_size, 3]`, BGR, and the (width, height) of the original.

    Examples:
        >>> white = np.full((2, 4, 3), 255, np.uint8)
        >>> square, size = resize_to_square(lambda **scale: (white, (4, 2)), image_size=4, resize="pad")
        >>> square[..., 0].tolist(), size
        ([[0, 0, 0, 0], [255, 255, 255, 255], [255, 255, 255, 255], [0, 0, 0, 0]], (4, 2))
    """
    longest = resize == "pad"
    image, size = decode(at_least=image_size, longest=longest)
    if trim_border:
        top, bottom, left, right = find_content(image)
        kept = min(bottom - top, right - left)
        if kept < 1:
            # Decode again, so that what is kept has enough pixels.
            image, size = decode(at_least=int(np.ceil(image_size / kept)), longest=longest)
        height, width = image.shape[:2]
        image = image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
    image = _resize(image, image_size, resize)
    if color_constancy == "shades_of_gray":
        image = shades_of_gray(image)
    return pad(image, image_size), size


def _resize(image: np.ndarray, size: int, mode: str) -> np.ndarray:
    """Resizes to `size`, by averages when it shrinks and bicubic when it grows; `pad` keeps the aspect ratio."""
    height, width = image.shape[:2]
    shape = (size, size)
    if mode == "crop":
        side = min(height, width)
        top = (height - side) // 2
        left = (width - side) // 2
        image = image[top : top + side, left : left + side]
    elif mode == "pad":
        longer = max(height, width)
        shape = (max(1, round(height * size / longer)), max(1, round(width * size / longer)))
    if image.shape[:2] == shape:
        return image
    if image.shape[0] >= shape[0] and image.shape[1] >= shape[1]:
        return _shrink(image, shape)
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _shrink(image: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Averages areas; for the moderate factors that a scaled decode leaves, by a box blur and bilinear interpolation.

    That is five times as fast as OpenCV's area average and, on the real images, as close to a Lanczos resize.
    """
    row_factor = image.shape[0] / shape[0]
    column_factor = image.shape[1] / shape[1]
    if max(row_factor, column_factor) > 3.5:
        return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_AREA)
    rows = 3 if row_factor >= 2.4 else 1
    columns = 3 if column_factor >= 2.4 else 1
    if rows + columns > 2:
        image = cv2.blur(image, (columns, rows))
    return cv2.resize(image, shape[::-1], interpolation=cv2.INTER_LINEAR_EXACT)


def pad(image: np.ndarray, size: int) -> np.ndarray:
    """Centers an image on a black square.

    Args:
        image: uint8 `[height, width, 3]`.
        size: Side of the square in pixels, at least the height and the width.

    Returns:
        uint8 `[size, size, 3]`.
    """
    rows = size - image.shape[0]
    columns = size - image.shape[1]
    if not rows and not columns:
        return image
    top = rows // 2
    left = columns // 2
    return cv2.copyMakeBorder(image, top, rows - top, left, columns - left, cv2.BORDER_CONSTANT)


def find_content(image: np.ndarray) -> tuple[float, float, float, float]:
    """Finds the part of an image inside a black frame or circle.

    Only black pixels that are connected to the edge of the image count. The edge line with the greatest fraction of
    black pixels is removed, one line after another, until every edge has at most 5 %. This removes a frame, and leaves
    of a circle little more than the square inside it. At least two fifths of each side always stay: the square in a
    circle as high as a 3:2 image is almost half as wide as the image.

    Args:
        image: uint8 `[height, width, 3]`.

    Returns:
        (top, bottom, left, right) as fractions of the sides, 0 to 1.

    Examples:
        >>> image = np.full((50, 100, 3), 150, np.uint8)
        >>> find_content(image)
        (0.0, 1.0, 0.0, 1.0)
    """
    black = _find_border(image)
    height, width = black.shape
    top, bottom, left, right = 0, height, 0, width
    while True:
        part = black[top:bottom, left:right]
        fractions = np.array([part[0].mean(), part[-1].mean(), part[:, 0].mean(), part[:, -1].mean()])
        fractions[:2] *= 5 * (bottom - top - 3) >= 2 * height
        fractions[2:] *= 5 * (right - left - 3) >= 2 * width
        worst = int(np.argmax(fractions))
        if fractions[worst] <= _EDGE_BLACK:
            break
        if worst == 0:
            top += 1
        elif worst == 1:
            bottom -= 1
        elif worst == 2:
            left += 1
        else:
            right -= 1
    # The line next to a removed one may be partly black.
    top += top > 0
    bottom -= bottom < height
    left += left > 0
    right -= right < width
    return top / height, bottom / height, left / width, right / width


def _find_border(image: np.ndarray) -> np.ndarray:
    """Returns which pixels of a reduced image are black and connected to its edge: bool `[height, width]`."""
    scale = min(1.0, _SEARCH_SIDE / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    black = (small.max(axis=2) < _BLACK).astype(np.uint8)
    # A black frame around the image gives everything that is connected to the edge the label of its corner.
    framed = cv2.copyMakeBorder(black, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    return labels[1:-1, 1:-1] == labels[0, 0]


def shades_of_gray(image: np.ndarray, power: int = 6) -> np.ndarray:
    """Corrects the color of the light by shades of gray (Finlayson and Trezzi, 2004; p = 6 as usual for dermoscopy).

    The color of the light is the Minkowski mean of order p of each channel. Channels are divided by it, and scaled so
    that the overall brightness (the root mean square of the three means) is unchanged.

    Args:
        image: uint8 `[height, width, 3]`.
        power: Order p of the mean.

    Returns:
        uint8 `[height, width, 3]`.

    Examples:
        >>> image = np.full((1, 2, 3), (50, 100, 200), np.uint8)
        >>> shades_of_gray(image)[0, 0].tolist()
        [132, 132, 132]
    """
    # With a histogram, each level is raised to the power only once.
    levels = np.arange(256.0) ** power
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in cv2.split(image)])
    light = np.maximum((counts @ levels / counts.sum(axis=1)) ** (1 / power), 1e-6)
    gains = np.sqrt(np.mean(light**2)) / light
    table = np.clip(np.rint(np.arange(256)[:, None] * gains), 0, 255).astype(np.uint8)
    return cv2.LUT(image, table[None])
