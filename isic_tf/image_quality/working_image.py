"""Shrinks a photograph, and finds the part of it that shows skin."""

import cv2
import numpy as np

# Longer sides in pixels: lines and ticks are found at 512, sharpness is measured at 256, colors and areas at 128.
LARGE, MEDIUM, SMALL = 512, 256, 128
# Pixels averaged along each axis before a large photograph is shrunk.
_SAMPLES = 3
# Brightest channel below which a pixel that is connected to the edge belongs to the black border of a microscope.
_BLACK = 40


def shrink(image: np.ndarray, side: int) -> np.ndarray:
    """Shrinks an image by area averages; a smaller image is returned as it is.

    Of a very large image, only 3 x 3 pixels for each pixel of the result are read.

    Args:
        image: uint8 `[height, width, 3]`.
        side: Longer side of the result in pixels.

    Returns:
        uint8 `[h, w, 3]`, each side at least 1 px.
    """
    for longest, method in ((_SAMPLES * side, cv2.INTER_NEAREST), (side, cv2.INTER_AREA)):
        scale = longest / max(image.shape[:2])
        if scale < 1:
            height, width = (max(1, round(scale * length)) for length in image.shape[:2])
            image = cv2.resize(image, (width, height), interpolation=method)
    return image


def make_ellipse(height: int, width: int) -> np.ndarray:
    """Returns the ellipse in an image, which leaves out the corners: black or white beyond a microscope's round view.

    Args:
        height: Height in pixels.
        width: Width in pixels.

    Returns:
        bool `[height, width]`.
    """
    rows = (np.arange(height) + 0.5) / height - 0.5
    columns = (np.arange(width) + 0.5) / width - 0.5
    return rows[:, None] ** 2 + columns**2 <= 0.48**2


def find_content(image: np.ndarray, ellipse: np.ndarray) -> np.ndarray:
    """Finds the pixels in the ellipse that do not belong to a black border; if there are hardly any, all of them.

    Args:
        image: uint8 `[height, width, 3]`, at most about 128 px.
        ellipse: bool `[height, width]`.

    Returns:
        bool `[height, width]`.
    """
    black = (image.max(axis=2) < _BLACK).astype(np.uint8)
    # A black frame gives everything that is connected to the edge the label of its corner.
    framed = cv2.copyMakeBorder(black, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    border = cv2.dilate((labels == labels[0, 0]).astype(np.uint8), np.ones((5, 5), np.uint8))[1:-1, 1:-1]
    # The frame itself widened the border by a pixel; the ellipse leaves these out.
    content = ellipse & (border == 0)
    return content if content.sum() > 0.1 * ellipse.sum() else ellipse
