"""Exposure and color of the pixels that show skin."""

import cv2
import numpy as np

# Brightness percentile of the skin next to a lesion, however large the lesion is.
_BRIGHT = 95
_CLIPPED = 252
# log(R / G) and log(B / G) of the brighter half of dermoscopic images: mean and standard deviation over ISIC 2020.
_SKIN = np.array([0.240, -0.056])
_SKIN_SPREAD = np.array([0.142, 0.134])


def brightness(pixels: np.ndarray) -> float:
    """Computes the 95th percentile of the brightest channel (V of HSV).

    Black borders and dark lesions do not change it as long as a twentieth of the pixels is brighter.

    Args:
        pixels: uint8 `[n, 3]`.

    Returns:
        0 to 255.

    Examples:
        >>> brightness(np.array([[0, 0, 0], [200, 120, 100], [200, 130, 90]], np.uint8))
        200.0
    """
    return float(np.percentile(pixels.max(axis=1), _BRIGHT))


def clipped_share(pixels: np.ndarray) -> float:
    """Computes the share of pixels in which at least two channels are clipped.

    Red alone is often clipped on well exposed skin.

    Args:
        pixels: uint8 `[n, 3]`.

    Returns:
        0 to 1.

    Examples:
        >>> clipped_share(np.array([[255, 255, 200], [255, 240, 200]], np.uint8))
        0.5
    """
    return float(np.mean((pixels >= _CLIPPED).sum(axis=1) >= 2))


def color_distance(pixels: np.ndarray) -> float:
    """Computes how far the color of the skin is from its mean over dermoscopic images, in standard deviations.

    The color is that of the brighter half of the pixels without the brightest twentieth, as log(R / G) and log(B / G):
    the log-chromaticity of Finlayson and Hordley (2001), which does not depend on brightness.

    Args:
        pixels: uint8 `[n, 3]`, RGB.

    Returns:
        Mahalanobis distance, from 0 on; the two ratios are uncorrelated in ISIC 2020.

    Examples:
        >>> round(color_distance(np.full((4, 3), (100, 100, 100), np.uint8)), 2)
        1.74
    """
    luminance = cv2.cvtColor(np.ascontiguousarray(pixels)[None], cv2.COLOR_RGB2GRAY)[0]
    low, high = np.percentile(luminance, [50, _BRIGHT])
    red, green, blue = pixels[(luminance >= low) & (luminance <= high)].mean(axis=0) + 1
    ratios = np.log([red / green, blue / green])
    return float(np.linalg.norm((ratios - _SKIN) / _SKIN_SPREAD))
