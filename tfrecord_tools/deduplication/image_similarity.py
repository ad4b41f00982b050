"""Measures how similar two images are, however one was rotated, flipped, cropped, stretched or brightened.

Each step is slower and more reliable than the one before:

1. Views of each image get a descriptor that rotations and flips do not change, and shifts and crops change little:
   magnitudes of the angular Fourier coefficients of rings, of the image and of its log amplitude spectrum
   (Fourier-Mellin, after Reddy and Chatterji, 1996), and products of the coefficients of neighboring rings. Blocked
   matrix products find the nearest views of each view.
2. For such a pair, the same coefficients give the angle and the flip, and phase correlation gives the shift.
3. An affine map is refined (enhanced correlation, Evangelidis and Psarakis, 2008). The distance is 1 - the correlation
   of fine detail, which differs between dermoscopic images that look the same at a glance.
"""

import cv2
import numpy as np

from tfrecord_tools.imaging import preprocessing

# Side in pixels of the views, and of the reduced views for descriptors and the first alignment.
SIDE = 96
_SMALL = 64
# Rings per view, samples per ring, and Fourier orders kept.
_RINGS = 12
_ANGLES = 128
_ORDERS = 9
# Gray level below which a pixel counts as border, or as a corner left black by a rotation.
_BLACK = 24
# Fraction of the smaller content that two views must have in common.
_OVERLAP = 0.5
# Correlation below which a pair is rejected: after alignment by a rotation and a shift, and after an affine map.
_MIN_RIGID_CORRELATION = 0.3
_MIN_AFFINE_CORRELATION = 0.55
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
_RADII = np.arange(_RINGS) + 0.5
_FROM_CENTER = np.hypot(*np.mgrid[:_SMALL, :_SMALL] - (_SMALL - 1) / 2) / (0.485 * _SMALL)
_DISC = np.float32(_FROM_CENTER < 1)
_WINDOW = np.float32(_DISC * np.cos(np.pi / 2 * np.minimum(_FROM_CENTER, 1)))


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
    return np.stack([_resize(part, SIDE) for part in parts])


def _map_rings(radii: np.ndarray, turn: float, center: float) -> tuple[np.ndarray, np.ndarray]:
    """Returns the x and y coordinates at which to sample rings: two float32 `[12, 128]`."""
    angles = np.arange(_ANGLES) * turn / _ANGLES
    x = np.float32(center + radii[:, None] * np.cos(angles))
    y = np.float32(center + radii[:, None] * np.sin(angles))
    return x, y


_IMAGE_RINGS = _map_rings(_RADII / _RINGS * 0.46 * _SMALL, 2 * np.pi, (_SMALL - 1) / 2)
# An amplitude spectrum repeats itself after half a turn.
_SPECTRUM_RINGS = _map_rings(np.geomspace(1.5, 18, _RINGS), np.pi, _SMALL / 2)


def describe(views: np.ndarray) -> np.ndarray:
    """Computes Fourier coefficients of rings, of images and of their spectra.

    Args:
        views: uint8 `[n, SIDE, SIDE]`.

    Returns:
        complex64 `[n, 2, 12, 9]`: image and spectrum, ring, order. A rotation multiplies them by phases, and a flip
        also conjugates them; a shift hardly changes those of the spectra.
    """
    planes = []
    for gray in map(_shrink, views):
        spectrum = np.abs(np.fft.fft2(_find_detail(gray, _DISC, 13, 6) * _WINDOW))
        spectrum = cv2.GaussianBlur(np.fft.fftshift(spectrum).astype(np.float32), (0, 0), 1)
        # A tenth of the mean keeps the logarithm from amplifying negligible amplitudes.
        spectrum = np.log(spectrum + 0.1 * spectrum.mean() + 1e-6)
        soft = _find_detail(cv2.GaussianBlur(gray, (0, 0), 2), _DISC, 27, 6)
        # Each ring of the image is weighted by its area.
        rings = cv2.remap(soft, *_IMAGE_RINGS, cv2.INTER_LINEAR) * np.sqrt(_RADII, dtype=np.float32)[:, None]
        planes.append([rings, cv2.remap(spectrum - spectrum.mean(), *_SPECTRUM_RINGS, cv2.INTER_LINEAR)])
    return np.fft.rfft(planes, axis=3)[..., :_ORDERS].astype(np.complex64)


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


def _orient(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the rotation and flip between images by their rings: float64 `[n]` in radians and bool `[n]`."""
    first = _normalize_rings(first)
    second = _normalize_rings(second)
    totals = []
    for rings in (second.conj(), second):
        correlations = np.fft.irfft(np.sum(first * rings, axis=2), _ANGLES, axis=2)
        # When an image has turned once, its spectrum has turned twice.
        totals.append(correlations[:, 0] + correlations[:, 1, 2 * np.arange(_ANGLES) % _ANGLES])
    best = np.concatenate(totals, axis=1).argmax(axis=1)
    return best % _ANGLES * 2 * np.pi / _ANGLES, best >= _ANGLES


def _normalize_rings(rings: np.ndarray) -> np.ndarray:
    """Removes the mean of each ring (order 0), and scales an image's rings to length 1."""
    centered = rings * (np.arange(_ORDERS) > 0)
    return centered / (np.linalg.norm(centered, axis=(2, 3), keepdims=True) + 1e-6)


def compare(rows: np.ndarray, rings: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Computes how far pairs of views are from being edits of one photograph.

    Args:
        rows: uint8 `[n, SIDE, SIDE]`, see `make_views`.
        rings: complex64 `[n, 2, 12, 9]`, see `describe`.
        pairs: int64 `[p, 2]`, positions in `rows`.

    Returns:
        float64 `[p]` in [0, 1]: 1 - the correlation of fine detail; 1 where the two cannot be aligned.
    """
    angles, flips = _orient(rings[pairs[:, 0]], rings[pairs[:, 1]])
    couples = zip(rows[pairs[:, 0]], rows[pairs[:, 1]], angles, flips, strict=True)
    return np.array([_measure(*couple) for couple in couples], np.float64)


def _measure(first: np.ndarray, second: np.ndarray, angle: float, flip: bool) -> float:
    """Aligns two views, and returns 1 - the correlation of their fine detail; 1 where they cannot be aligned."""
    linear = _to_linear(angle, flip)
    small_first = _shrink(first)
    small_second = _shrink(second)
    detail_first = _find_detail(small_first, _find_content(small_first), 13, 6)
    detail_second = _find_detail(small_second, _find_content(small_second), 13, 6)
    aligned = _warp(detail_second, _to_matrix(linear, np.zeros(2), _SMALL))
    offset, _ = cv2.phaseCorrelate(detail_first * _WINDOW, aligned * _WINDOW)
    shift = linear @ offset / _SMALL
    aligned = _warp(detail_second, _to_matrix(linear, shift, _SMALL))
    if _correlate(detail_first, aligned, _WINDOW) < _MIN_RIGID_CORRELATION:
        return 1.0
    linear, shift, correlation = _refine(small_first, small_second, linear, shift, width=13, floor=6)
    if correlation < _MIN_AFFINE_CORRELATION:
        return 1.0
    _, _, correlation = _refine(np.float32(first), np.float32(second), linear, shift, width=7, floor=2)
    return 1 - max(0, correlation)


def _to_linear(angle: float, flip: bool) -> np.ndarray:
    """Returns the matrix of a rotation, or of a rotation and a flip: float64 `[2, 2]`."""
    cosine = np.cos(angle)
    sine = np.sin(angle)
    return np.array([[cosine, sine], [sine, -cosine] if flip else [-sine, cosine]])


def _refine(
    first: np.ndarray, second: np.ndarray, linear: np.ndarray, shift: np.ndarray, width: int, floor: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Refines an affine map by detail of one scale, and returns it with the correlation of that detail."""
    side = len(first)
    content_first = _find_content(first)
    content_second = _find_content(second)
    smooth_first = cv2.GaussianBlur(_find_detail(first, content_first, width, floor), (0, 0), width / 13)
    smooth_second = cv2.GaussianBlur(_find_detail(second, content_second, width, floor), (0, 0), width / 13)
    matrix = _to_matrix(linear, shift, side)
    mask = np.uint8(_intersect(content_first, content_second, matrix))
    try:
        _, matrix = cv2.findTransformECC(smooth_first, smooth_second, matrix, cv2.MOTION_AFFINE, _CRITERIA, mask, 1)
    except cv2.error:  # it does not converge, for example where the two have nothing in common
        return linear, shift, 0.0
    common = _intersect(content_first, content_second, matrix)
    detail_first = _find_detail(first, common, width, floor)
    detail_second = _find_detail(_warp(second, matrix, cv2.INTER_CUBIC), common, width, floor)
    linear = np.float64(matrix[:, :2])
    shift = (matrix[:, 2] - _to_matrix(linear, np.zeros(2), side)[:, 2]) / side
    return linear, shift, _correlate(detail_first, detail_second, common)


def _resize(gray: np.ndarray, side: int) -> np.ndarray:
    mode = cv2.INTER_AREA if min(gray.shape) >= side else cv2.INTER_CUBIC
    return cv2.resize(gray, (side, side), interpolation=mode)


def _shrink(view: np.ndarray) -> np.ndarray:
    return np.float32(_resize(view, _SMALL))


def _find_detail(gray: np.ndarray, mask: np.ndarray, width: int, floor: float) -> np.ndarray:
    """Subtracts the local mean, and divides by the local contrast; contrast far below `floor` stays small."""
    coverage = np.maximum(cv2.blur(mask, (width, width)), 1e-3)
    detail = (gray - cv2.blur(gray * mask, (width, width)) / coverage) * mask
    return detail / np.sqrt(cv2.blur(detail * detail, (width, width)) / coverage + floor**2)


def _find_content(gray: np.ndarray) -> np.ndarray:
    """Returns 1 where an image has content, 0 where it is black or next to black: float32."""
    return _erode(gray >= _BLACK)


def _erode(mask: np.ndarray) -> np.ndarray:
    return cv2.erode(np.uint8(mask), np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)


def _intersect(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns 1 where both aligned images have content; 0 everywhere where they have too little in common."""
    common = _erode(_warp(second, matrix) * first > 0.99)
    return common * (common.sum() >= max(_OVERLAP * min(first.sum(), second.sum()), 0.1 * first.size))


def _to_matrix(linear: np.ndarray, shift: np.ndarray, side: int) -> np.ndarray:
    """Returns OpenCV's matrix of an affine map about the center, with the shift in sides: float32 `[2, 3]`."""
    return np.float32(np.column_stack([linear, shift * side + (np.eye(2) - linear) @ np.full(2, (side - 1) / 2)]))


def _warp(image: np.ndarray, matrix: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    return cv2.warpAffine(image, matrix, image.shape, flags=interpolation | cv2.WARP_INVERSE_MAP)


def _correlate(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> float:
    """Computes a weighted correlation; the 0.02 moves it towards 0 where there is little but noise."""
    weight = weight / max(weight.sum(), 1)
    first = first - np.vdot(first, weight)
    second = second - np.vdot(second, weight)
    powers = np.vdot(first * first, weight) * np.vdot(second * second, weight)
    return float(np.vdot(first * second, weight) / (np.sqrt(powers) + 0.02))
