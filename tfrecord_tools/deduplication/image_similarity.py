"""Measures how similar two images are, however one was rotated, flipped, cropped, stretched or brightened.

Each step is slower and more reliable than the one before:

1. Views of each image get a descriptor that rotations and flips do not change, and shifts and crops change little:
   magnitudes of the angular Fourier coefficients of rings, of the image and of its log amplitude spectrum
   (Fourier-Mellin, after Reddy and Chatterji, 1996), and products of the coefficients of neighboring rings. Blocked
   matrix products find the nearest views of each view.
2. For such a pair, the same coefficients give the angle and the flip, and phase correlation gives the shift. Most pairs
   of two photographs agree too little in the one or the other, and end here.
3. An affine map is refined (enhanced correlation, Evangelidis and Psarakis, 2008). The distance is 1 - the correlation
   of fine detail, which differs between dermoscopic images that look the same at a glance.
"""

import cv2
import numpy as np
from scipy import fft

from tfrecord_tools.deduplication import local_detail
from tfrecord_tools.imaging import preprocessing

# Side in pixels of the views.
SIDE = 96
# Rings per view, samples per ring, and Fourier orders kept.
_RINGS = 12
ANGLES = 128
ORDERS = 9
_RADII = np.arange(_RINGS) + 0.5
_RING_WEIGHTS = np.sqrt(_RADII, dtype=np.float32)[:, None]
# Of each width of a box, the share of the box that is in the disc.
_COVERAGE = {width: np.maximum(cv2.blur(local_detail.DISC, (width, width)), 1e-3) for width in (13, 27)}


def make_views(image: np.ndarray) -> np.ndarray:
    """Makes the square views by which an image is compared.

    The views are the complete image, stretched, as most record sets store it; for an image that is not square, its
    center square, in which any rotation remains a rotation; and the content of a black frame, if there is one.

    Args:
        image: uint8 `[height, width, 3]`, BGR.

    Returns:
        uint8 `[v, SIDE, SIDE]`, gray, v from 1 to 3.

    Examples:
        >>> make_views(np.full((80, 160, 3), 120, np.uint8)).shape
        (2, 96, 96)
    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = gray.shape
    side = min(height, width)
    parts = [gray]
    if max(height, width) > 1.05 * side:
        top = (height - side) // 2
        left = (width - side) // 2
        parts.append(gray[top : top + side, left : left + side])
    top, bottom, left, right = np.multiply(preprocessing.find_content(image), (height, height, width, width))
    if bottom - top < 0.99 * height or right - left < 0.99 * width:
        parts.append(gray[round(top) : round(bottom), round(left) : round(right)])
    return np.stack([local_detail.resize(part, SIDE) for part in parts])


def _map_rings(radii: np.ndarray, turn: float, center: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the x and y coordinates at which to sample rings: two float32 `[12, 128]`."""
    angles = np.arange(ANGLES) * turn / ANGLES
    x = np.float32(center + radii[:, None] * np.cos(angles))
    y = np.float32(center + radii[:, None] * np.sin(angles))
    return x, y


_IMAGE_RINGS = _map_rings(_RADII / _RINGS * 0.46 * local_detail.SMALL, 2 * np.pi, (local_detail.SMALL - 1) / 2)
# An amplitude spectrum repeats itself after half a turn.
_SPECTRUM_RINGS = _map_rings(np.geomspace(1.5, 18, _RINGS), np.pi, local_detail.SMALL / 2)


def describe(views: np.ndarray) -> np.ndarray:
    """Computes Fourier coefficients of rings, of images and of their spectra.

    Args:
        views: uint8 `[n, SIDE, SIDE]`.

    Returns:
        complex64 `[n, 2, 12, 9]`: image and spectrum, ring, order. A rotation multiplies them by phases, and a flip
        also conjugates them; a shift hardly changes those of the spectra.
    """
    planes = np.empty((len(views), 2, _RINGS, ANGLES), np.float32)
    for place, gray in zip(planes, map(local_detail.shrink, views), strict=True):
        detail = local_detail.find_detail(gray, local_detail.DISC, 13, 6, _COVERAGE[13])
        spectrum = np.abs(fft.fft2(detail * local_detail.WINDOW, overwrite_x=True))
        spectrum = cv2.GaussianBlur(fft.fftshift(spectrum), (0, 0), 1)
        # A tenth of the mean keeps the logarithm from amplifying negligible amplitudes.
        spectrum = np.log(spectrum + (0.1 * spectrum.mean() + np.float32(1e-6)))
        soft = local_detail.find_detail(cv2.GaussianBlur(gray, (0, 0), 2), local_detail.DISC, 27, 6, _COVERAGE[27])
        # Each ring of the image is weighted by its area.
        place[0] = cv2.remap(soft, *_IMAGE_RINGS, cv2.INTER_LINEAR) * _RING_WEIGHTS
        place[1] = cv2.remap(spectrum - spectrum.mean(), *_SPECTRUM_RINGS, cv2.INTER_LINEAR)
    return fft.rfft(planes, axis=3)[..., :ORDERS].astype(np.complex64)


def embed(rings: np.ndarray) -> np.ndarray:
    """Computes descriptors that rotations and flips do not change.

    Args:
        rings: complex64 `[n, 2, 12, 9]`, see `describe`.

    Returns:
        float32 `[n, 392]`, standardized over the `n`, then of length 1.
    """
    magnitudes = np.sqrt(np.abs(rings[..., 1:]))
    # A flip conjugates these products, so that their real part does not change.
    products = rings[:, :, :-1, 1:] * rings[:, :, 1:, 1:].conj()
    products = products.real / np.sqrt(np.maximum(np.abs(products), 1e-9))
    parts = [part.reshape(len(rings), -1) for part in (rings[..., 0].real, magnitudes, products)]
    embeddings = np.concatenate(parts, axis=1)
    embeddings = (embeddings - embeddings.mean(axis=0)) / (embeddings.std(axis=0) + 1e-6)
    return embeddings / (np.linalg.norm(embeddings, axis=1, keepdims=True) + 1e-6)
