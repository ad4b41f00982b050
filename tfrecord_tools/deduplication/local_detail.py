"""Computes the local detail of small gray views: differences from the local mean, in units of the local contrast."""

import cv2
import numpy as np

# Side in pixels of the reduced views for descriptors and the first alignment.
SMALL = 64
# Gray level below which a pixel counts as border, or as a corner left black by a rotation.
_BLACK = 24
_FROM_CENTER = np.hypot(*np.mgrid[:SMALL, :SMALL] - (SMALL - 1) / 2) / (0.485 * SMALL)
# The disc in a reduced view that a rotation keeps, and a window that falls to 0 at its edge.
DISC = np.float32(_FROM_CENTER < 1)
WINDOW = np.float32(DISC * np.cos(np.pi / 2 * np.minimum(_FROM_CENTER, 1)))
_SQUARE = np.ones((3, 3), np.uint8)


def resize(gray: np.ndarray, side: int) -> np.ndarray:
    """Resizes an image to a square."""
    mode = cv2.INTER_AREA if min(gray.shape) >= side else cv2.INTER_CUBIC
    return cv2.resize(gray, (side, side), interpolation=mode)


def shrink(view: np.ndarray) -> np.ndarray:
    """Reduces a view: float32 `[SMALL, SMALL]`."""
    return np.float32(resize(view, SMALL))


def find_detail(
    gray: np.ndarray, mask: np.ndarray, width: int, floor: float, coverage: np.ndarray | None = None
) -> np.ndarray:
    """Subtracts the local mean, and divides by the local contrast; contrast far below `floor` stays small.

    Args:
        gray: float32 `[side, side]`.
        mask: float32 `[side, side]`, 0 where a pixel does not count, else 1.
        width: Side in pixels of the box in which mean and contrast are taken.
        floor: Gray levels.
        coverage: Share of the box around each pixel that counts, where it is known.

    Returns:
        float32 `[side, side]`, 0 where the mask is 0.
    """
    box = (width, width)
    if coverage is None:
        if mask.all():
            detail = gray - cv2.blur(gray, box)
            return detail / np.sqrt(cv2.blur(detail * detail, box) + floor**2)
        coverage = np.maximum(cv2.blur(mask, box), 1e-3)
    detail = (gray - cv2.blur(gray * mask, box) / coverage) * mask
    return detail / np.sqrt(cv2.blur(detail * detail, box) / coverage + floor**2)


def find_content(gray: np.ndarray) -> np.ndarray:
    """Returns 1 where an image has content, 0 where it is black or next to black: float32."""
    return erode(gray >= _BLACK)


def erode(mask: np.ndarray) -> np.ndarray:
    """Removes the pixels at the edge of a mask: float32, 0 or 1."""
    return cv2.erode(np.uint8(mask), _SQUARE, borderValue=1).astype(np.float32)


def find_details(views: np.ndarray) -> np.ndarray:
    """Computes the local detail by which two views are first aligned, once for all pairs of a view.

    Args:
        views: uint8 `[n, SIDE, SIDE]`.

    Returns:
        float16 `[n, 64, 64]`: differences from the local mean, in units of the local contrast; 0 where there is none.
    """
    smalls = map(shrink, views)
    return np.array([find_detail(small, find_content(small), 13, 6) for small in smalls], np.float16)
