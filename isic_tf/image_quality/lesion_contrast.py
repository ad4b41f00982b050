"""Whether anything stands out from the skin."""

import cv2
import numpy as np

# Widths at 128 px. The median removes hair and the lines of a ruler, the blur removes noise.
_HAIR = 5
_SIGMA = 2.0
# A share of 0.5 % of the frame is a lesion 10 px wide at 128 px.
_TOP = 99.5
# Darkest L* of skin without a lesion; the inside of a pigmented lesion is darker.
_SKIN_LIGHTNESS = 52.0


def lesion_contrast(image: np.ndarray, content: np.ndarray) -> float:
    """Computes the color difference between the skin and what differs most from it.

    The difference is CIE 1976 (the Euclidean distance in L*a*b*) from the median color, after a quadratic surface is
    subtracted for uneven light; its 99.5th percentile is taken. Where the median color is too dark for skin, the lesion
    fills the frame, and the missing lightness is added.

    Args:
        image: uint8 `[height, width, 3]`, RGB, about 128 px.
        content: bool `[height, width]`, pixels to look at.

    Returns:
        Color difference, from 0 on; about 2 is just visible.

    Examples:
        >>> skin = np.full((96, 128, 3), (220, 170, 150), np.uint8)
        >>> round(lesion_contrast(skin, np.ones((96, 128), bool)))
        0
    """
    smooth = cv2.GaussianBlur(cv2.medianBlur(image, _HAIR), (0, 0), _SIGMA)
    colors = cv2.cvtColor(smooth.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[content]
    rows, columns = (place / length - 0.5 for place, length in zip(np.nonzero(content), content.shape, strict=True))
    surface = np.stack([np.ones_like(rows), rows, columns, rows**2, columns**2, rows * columns], axis=1)
    # The normal equations are a fraction of the time; an image one pixel high makes them singular.
    coefficients = np.linalg.lstsq(surface.T @ surface, surface.T @ colors, rcond=1e-9)[0]
    flat = colors - surface @ coefficients
    differences = np.linalg.norm(flat - np.median(flat, axis=0), axis=1)
    too_dark = max(0.0, _SKIN_LIGHTNESS - float(np.median(colors[:, 0])))
    return float(np.percentile(differences, _TOP)) + too_dark
