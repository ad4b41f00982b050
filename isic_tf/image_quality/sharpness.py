"""Blur, and the blocks of a strong JPEG compression."""

import cv2
import numpy as np

# Share of each side that is cut off: borders of a microscope's view are sharp in a blurred photograph, too.
_MARGIN = 0.15
_REBLUR_SIGMA = 2.0
# Pixels along a side of what is searched for blocks.
_BLOCK_WINDOW = 1024
_BLOCK = 8


def reblur_ratio(image: np.ndarray) -> float:
    """Computes the share of the gradient that is left after the image is blurred.

    A sharp image loses much, a blurred one little (Crete et al., "The blur effect", SPIE 2007). Here the blur is a
    Gaussian of 2 px on an image of 256 px, and the gradient is its root mean square, so that noise counts less.

    Args:
        image: uint8 `[height, width, 3]`, RGB, 256 px on its longer side.

    Returns:
        0 to 1; 0 for an image without any gradient.

    Examples:
        >>> rows = np.arange(64, dtype=np.uint8)
        >>> round(reblur_ratio(np.broadcast_to(2 * rows[:, None, None], (64, 64, 3))), 2)
        1.0
    """
    gray = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY).astype(np.float32)
    blurred = cv2.GaussianBlur(gray, (0, 0), _REBLUR_SIGMA)
    before, after = (_gradient_energy(channel) for channel in (gray, blurred))
    return float(np.sqrt(after / before)) if before > 0 else 0.0


def _gradient_energy(gray: np.ndarray) -> float:
    top, left = (round(_MARGIN * length) for length in gray.shape)
    squares = cv2.Sobel(gray, cv2.CV_32F, 1, 0) ** 2 + cv2.Sobel(gray, cv2.CV_32F, 0, 1) ** 2
    return float(squares[top : gray.shape[0] - top, left : gray.shape[1] - left].mean())


def blockiness(image: np.ndarray) -> float:
    """Computes how much larger the steps between the 8 x 8 blocks of a JPEG are than the steps inside them.

    Source: Wang, Sheikh and Bovik, "No-reference perceptual quality assessment of JPEG compressed images", ICIP 2002.

    Args:
        image: uint8 `[height, width, 3]`, RGB, as decoded: resizing moves the blocks.

    Returns:
        Ratio of the mean steps, the smaller one of both directions: stripes are no blocks. 1 without blocks.

    Examples:
        >>> tiles = np.kron(np.arange(16).reshape(4, 4) % 3, np.ones((8, 8), int))
        >>> blockiness((40 * tiles[..., None] + np.zeros(3, int)).astype(np.uint8)) > 2
        True
    """
    top, left = ((max(0, length - _BLOCK_WINDOW) // 2) // _BLOCK * _BLOCK for length in image.shape[:2])
    window = image[top : top + _BLOCK_WINDOW, left : left + _BLOCK_WINDOW]
    gray = cv2.cvtColor(np.ascontiguousarray(window), cv2.COLOR_RGB2GRAY).astype(np.int16)
    ratios = []
    for axis in (0, 1):
        steps = np.abs(np.diff(gray, axis=axis)).mean(axis=1 - axis)
        at_edge = np.arange(1, len(steps) + 1) % _BLOCK == 0
        # A quarter of a gray level keeps an even image from counting.
        ratios.append((steps[at_edge].mean() + 0.25) / (steps[~at_edge].mean() + 0.25))
    return float(min(ratios))
