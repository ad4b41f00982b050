"""Aligns two views of images, and measures how well their detail agrees; see `image_similarity`."""

import cv2
import numpy as np

from tfrecord_tools.deduplication import image_similarity, local_detail

# Fraction of the smaller content that two views must have in common.
_OVERLAP = 0.5
# Below these a pair is rejected, of two photographs mostly, before it costs more. In turn, with the least value of 2276
# pairs of edits and the share of other pairs that is left: the mean correlation of the rings of images and of spectra
# (0.44; 0.90), the peak of the phase correlation (0.18; 0.56) and the correlation of smooth detail after an affine map
# (0.69; half of those that are aligned). Of 3168 pairs of crops to a third, which are harder, these limits cost 0.4 %.
_MIN_RING_CORRELATION = 0.3
_MIN_PEAK = 0.08
_MIN_SMOOTH_CORRELATION = 0.6
# Correlation below which a pair is rejected: after alignment by a rotation and a shift, and after an affine map.
_MIN_RIGID_CORRELATION = 0.3
_MIN_AFFINE_CORRELATION = 0.55
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
_WEIGHT = local_detail.WINDOW / local_detail.WINDOW.sum()


def _orient(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Finds the rotation and flip between images by their rings.

    Returns:
        float64 `[n]` in radians, bool `[n]`, and the correlation of the rings so turned, float32 `[n]`: the mean of
        those of the image and of its spectrum.
    """
    count = image_similarity.ANGLES
    first = _normalize_rings(first)
    second = _normalize_rings(second)
    totals = []
    for rings in (second.conj(), second):
        correlations = np.fft.irfft(np.sum(first * rings, axis=2), count, axis=2)
        # When an image has turned once, its spectrum has turned twice.
        totals.append(correlations[:, 0] + correlations[:, 1, 2 * np.arange(count) % count])
    both = np.concatenate(totals, axis=1)
    best = both.argmax(axis=1)
    # Of equal rings each of the two terms is 2 / `count`, since all orders but 0 stand for their conjugates too.
    return best % count * 2 * np.pi / count, best >= count, both.max(axis=1) * count / 4


def _normalize_rings(rings: np.ndarray) -> np.ndarray:
    """Removes the mean of each ring (order 0), and scales an image's rings to length 1."""
    centered = rings * np.float32(np.arange(image_similarity.ORDERS) > 0)
    return centered / (np.linalg.norm(centered, axis=(2, 3), keepdims=True) + 1e-6)


def compare(rows: np.ndarray, rings: np.ndarray, details: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Computes how far pairs of views are from being edits of one photograph.

    Args:
        rows: uint8 `[n, SIDE, SIDE]`, see `image_similarity.make_views`.
        rings: complex64 `[n, 2, 12, 9]`, see `image_similarity.describe`.
        details: float16 `[n, 64, 64]`, see `local_detail.find_details`.
        pairs: int64 `[p, 2]`, positions in `rows`.

    Returns:
        float64 `[p]` in [0, 1]: 1 - the correlation of fine detail; 1 where the two cannot be aligned.
    """
    angles, flips, correlations = _orient(rings[pairs[:, 0]], rings[pairs[:, 1]])
    distances = np.ones(len(pairs))
    for place in np.flatnonzero(correlations >= _MIN_RING_CORRELATION):
        first, second = pairs[place]
        linear = _to_linear(angles[place], flips[place])
        both = (np.float32(details[first]), np.float32(details[second]))
        shift = _align(*both, linear)
        if shift is not None:
            distances[place] = _measure(rows[first], rows[second], both, linear, shift)
    return distances


def _align(first: np.ndarray, second: np.ndarray, linear: np.ndarray) -> np.ndarray | None:
    """Finds the shift between the details of two views, in sides; None where they are of two photographs."""
    aligned = _warp(second, _to_matrix(linear, np.zeros(2), local_detail.SMALL))
    offset, peak = cv2.phaseCorrelate(first * local_detail.WINDOW, aligned * local_detail.WINDOW)
    if peak < _MIN_PEAK:
        return None
    shift = linear @ offset / local_detail.SMALL
    aligned = _warp(second, _to_matrix(linear, shift, local_detail.SMALL))
    return shift if _correlate(first, aligned, _WEIGHT) >= _MIN_RIGID_CORRELATION else None


def _measure(
    first: np.ndarray, second: np.ndarray, details: tuple[np.ndarray, np.ndarray], linear: np.ndarray, shift: np.ndarray
) -> float:
    """Refines the map of two views, and returns 1 - the correlation of their fine detail; 1 where there is none."""
    small = (local_detail.shrink(first), local_detail.shrink(second))
    linear, shift, correlation = _refine(
        *small, details, linear, shift, width=13, floor=6, least=_MIN_SMOOTH_CORRELATION
    )
    if correlation < _MIN_AFFINE_CORRELATION:
        return 1.0
    large = (np.float32(first), np.float32(second))
    fine = tuple(local_detail.find_detail(one, local_detail.find_content(one), 7, 2) for one in large)
    _, _, correlation = _refine(*large, fine, linear, shift, width=7, floor=2)
    return 1 - max(0, correlation)


def _to_linear(angle: float, flip: bool) -> np.ndarray:
    """Returns the matrix of a rotation, or of a rotation and a flip: float64 `[2, 2]`."""
    cosine = np.cos(angle)
    sine = np.sin(angle)
    return np.array([[cosine, sine], [sine, -cosine] if flip else [-sine, cosine]])


def _refine(
    first: np.ndarray,
    second: np.ndarray,
    details: tuple[np.ndarray, ...],
    linear: np.ndarray,
    shift: np.ndarray,
    width: int,
    floor: float,
    least: float = -1,
) -> tuple[np.ndarray, np.ndarray, float]:
    """Refines an affine map by detail of one scale, and returns it with the correlation of that detail.

    The correlation is 0 where that of the smooth detail is below `least`.
    """
    side = len(first)
    content_first = local_detail.find_content(first)
    content_second = local_detail.find_content(second)
    smooth_first, smooth_second = (cv2.GaussianBlur(detail, (0, 0), width / 13) for detail in details)
    matrix = _to_matrix(linear, shift, side)
    mask = np.uint8(_intersect(content_first, content_second, matrix))
    try:
        reached, matrix = cv2.findTransformECC(
            smooth_first, smooth_second, matrix, cv2.MOTION_AFFINE, _CRITERIA, mask, 1
        )
    except cv2.error:  # it does not converge, for example where the two have nothing in common
        return linear, shift, 0.0
    if reached < least:
        return linear, shift, 0.0
    common = _intersect(content_first, content_second, matrix)
    detail_first = local_detail.find_detail(first, common, width, floor)
    detail_second = local_detail.find_detail(_warp(second, matrix, cv2.INTER_CUBIC), common, width, floor)
    linear = np.float64(matrix[:, :2])
    shift = (matrix[:, 2] - _to_matrix(linear, np.zeros(2), side)[:, 2]) / side
    return linear, shift, _correlate(detail_first, detail_second, common / max(common.sum(), 1))


def _intersect(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Returns 1 where both aligned images have content; 0 everywhere where they have too little in common."""
    common = local_detail.erode(_warp(second, matrix) * first > 0.99)
    return common * (common.sum() >= max(_OVERLAP * min(first.sum(), second.sum()), 0.1 * first.size))


def _to_matrix(linear: np.ndarray, shift: np.ndarray, side: int) -> np.ndarray:
    """Returns OpenCV's matrix of an affine map about the center, with the shift in sides: float32 `[2, 3]`."""
    ((a, b), (c, d)), (right, down) = linear.tolist(), shift.tolist()
    center = (side - 1) / 2
    # Plain numbers: a tenth of the time of arrays this small.
    return np.array(
        [[a, b, right * side + center - (a + b) * center], [c, d, down * side + center - (c + d) * center]], np.float32
    )


def _warp(image: np.ndarray, matrix: np.ndarray, interpolation: int = cv2.INTER_LINEAR) -> np.ndarray:
    return cv2.warpAffine(image, matrix, image.shape, flags=interpolation | cv2.WARP_INVERSE_MAP)


def _correlate(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> float:
    """Computes a weighted correlation; the 0.02 moves it towards 0 where there is little but noise."""
    weighted_first = first * weight
    weighted_second = second * weight
    means = (weighted_first.sum(), weighted_second.sum())
    covariance = np.vdot(weighted_first, second) - means[0] * means[1]
    powers = (np.vdot(weighted_first, first) - means[0] ** 2) * (np.vdot(weighted_second, second) - means[1] ** 2)
    return float(covariance / (np.sqrt(max(powers, 0)) + 0.02))
