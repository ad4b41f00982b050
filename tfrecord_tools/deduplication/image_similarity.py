"""How alike two images look, however one was turned, flipped, cropped, stretched or brightened.

Each step is dearer and surer than the one before. (1) Views of each image get a descriptor that no turn and no flip
changes, and a shift or a crop but little: magnitudes of the angular Fourier coefficients of rings, of the image and of
its log amplitude spectrum (Fourier-Mellin, after Reddy and Chatterji, 1996), and products of neighbouring rings'
coefficients. Blocked matrix products find each view's nearest ones. (2) Of such a pair, the same coefficients give the
angle and the flip, and phase correlation the shift. (3) An affine map is refined (enhanced correlation, Evangelidis and
Psarakis, 2008), and the distance is 1 - the correlation of fine detail, in which dermoscopic images differ that are
alike at a glance.
"""

import cv2
import numpy as np

from tfrecord_tools.imaging import preprocessing

# Sides in pixels of the views that are compared, and of those that are described and first laid over each other.
SIDE, _SMALL = 96, 64
_RINGS, _ANGLES, _ORDERS = 12, 128, 9
# Grey level below which a pixel counts as border, or as a corner that a turn left black.
_BLACK = 24
# Share of the lesser content that two views must have in common.
_OVERLAP = 0.5
# Correlation below which a pair is given up: laid over each other by a turn and a shift, then by an affine map.
_ROUGHLY, _COARSELY = 0.3, 0.55
_CRITERIA = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 20, 1e-3)
_RADII = np.arange(_RINGS) + 0.5
_FROM_CENTRE = np.hypot(*np.mgrid[:_SMALL, :_SMALL] - (_SMALL - 1) / 2) / (0.485 * _SMALL)
_DISC = np.float32(_FROM_CENTRE < 1)
_WINDOW = np.float32(_DISC * np.cos(np.pi / 2 * np.minimum(_FROM_CENTRE, 1)))


def make_views(image):
    """Makes the square views by which an image is compared.

    They are the whole image, stretched, as record sets mostly hold it; of an image that is no square its centre square,
    in which a turn by any angle stays a turn; and what is within a black frame, where there is one.

    Args:
        image: uint8 `[height, width, 3]`, BGR.

    Returns:
        uint8 `[1 to 3, SIDE, SIDE]`, grey.
    """
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    height, width = gray.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    parts = [gray, gray[top : top + side, left : left + side]][: 1 + (max(height, width) > 1.05 * side)]
    top, bottom, left, right = np.multiply(preprocessing.find_content(image), (height, height, width, width))
    if bottom - top < 0.99 * height or right - left < 0.99 * width:
        parts.append(gray[round(top) : round(bottom), round(left) : round(right)])
    return np.stack([_resize(part, SIDE) for part in parts])


def _map_rings(radii, turn, centre):
    """Gives the x and the y at which to sample rings: float32 `[12, 128]` each."""
    angles = np.arange(_ANGLES) * turn / _ANGLES
    return [np.float32(centre + radii[:, None] * wave(angles)) for wave in (np.cos, np.sin)]


_IMAGE_RINGS = _map_rings(_RADII / _RINGS * 0.46 * _SMALL, 2 * np.pi, (_SMALL - 1) / 2)
# An amplitude spectrum repeats itself after half a turn.
_SPECTRUM_RINGS = _map_rings(np.geomspace(1.5, 18, _RINGS), np.pi, _SMALL / 2)


def describe(views):
    """Gives Fourier coefficients of the rings of images and of their spectra.

    Args:
        views: uint8 `[n, SIDE, SIDE]`.

    Returns:
        complex64 `[n, 2, 12, 9]`: image and spectrum, ring, order. A turn multiplies them by phases and a flip
        conjugates them as well; a shift hardly changes those of the spectra.
    """
    planes = []
    for gray in map(_shrink, views):
        spectrum = np.abs(np.fft.fft2(_find_detail(gray, _DISC, 13, 6) * _WINDOW))
        spectrum = cv2.GaussianBlur(np.fft.fftshift(spectrum).astype(np.float32), (0, 0), 1)
        # A tenth of the mean keeps the logarithm from making much of what is hardly there.
        spectrum = np.log(spectrum + 0.1 * spectrum.mean() + 1e-6)
        soft = _find_detail(cv2.GaussianBlur(gray, (0, 0), 2), _DISC, 27, 6)
        # A ring of the image counts by its area.
        rings = cv2.remap(soft, *_IMAGE_RINGS, cv2.INTER_LINEAR) * np.sqrt(_RADII, dtype=np.float32)[:, None]
        planes.append([rings, cv2.remap(spectrum - spectrum.mean(), *_SPECTRUM_RINGS, cv2.INTER_LINEAR)])
    return np.fft.rfft(planes, axis=3)[..., :_ORDERS].astype(np.complex64)


def embed(rings):
    """Makes descriptors that no turn and no flip changes.

    Args:
        rings: complex64 `[n, 2, 12, 9]`, see `describe`.

    Returns:
        float32 `[n, 392]`, standardised over the `n`, then of length 1.
    """
    magnitudes = np.sqrt(np.abs(rings[..., 1:]))
    # A flip conjugates these products, so that their real part stays.
    products = rings[:, :, :-1, 1:] * rings[:, :, 1:, 1:].conj()
    products = products.real / np.sqrt(np.maximum(np.abs(products), 1e-9))
    parts = [part.reshape(len(rings), -1) for part in (rings[..., 0].real, magnitudes, products)]
    embeddings = np.concatenate(parts, axis=1)
    embeddings = (embeddings - embeddings.mean(axis=0)) / (embeddings.std(axis=0) + 1e-6)
    return embeddings / (np.linalg.norm(embeddings, axis=1, keepdims=True) + 1e-6)


def _orient(one, other):
    """Finds the turns, in radians, and the flips that take images' rings nearest to others': `[n]` and bool `[n]`."""
    one, other = (rings * (np.arange(_ORDERS) > 0) for rings in (one, other))
    one, other = (rings / (np.linalg.norm(rings, axis=(2, 3), keepdims=True) + 1e-6) for rings in (one, other))
    totals = []
    for rings in (other.conj(), other):
        correlations = np.fft.irfft(np.sum(one * rings, axis=2), _ANGLES, axis=2)
        # Where an image has gone round once, its spectrum has twice.
        totals.append(correlations[:, 0] + correlations[:, 1, 2 * np.arange(_ANGLES) % _ANGLES])
    best = np.concatenate(totals, axis=1).argmax(axis=1)
    return best % _ANGLES * 2 * np.pi / _ANGLES, best >= _ANGLES


def compare(rows, rings, pairs):
    """Measures how far pairs of views are from being edits of one photograph.

    Args:
        rows: uint8 `[n, SIDE, SIDE]`.
        rings: complex64 `[n, 2, 12, 9]`, see `describe`.
        pairs: int64 `[p, 2]`, positions in `rows`.

    Returns:
        float64 `[p]` in [0, 1]: 1 - the correlation of fine detail, 1 where the two fit nowhere.
    """
    angles, flips = _orient(rings[pairs[:, 0]], rings[pairs[:, 1]])
    couples = zip(rows[pairs[:, 0]], rows[pairs[:, 1]], angles, flips, strict=True)
    return np.array([_measure(*couple) for couple in couples], np.float64)


def _measure(one, other, angle, flip):
    """Lays one view over another; gives 1 - the correlation of their fine detail, or 1 where they fit nowhere."""
    cosine, sine = np.cos(angle), np.sin(angle)
    linear, shift = np.array([[cosine, sine], [sine, -cosine] if flip else [-sine, cosine]]), np.zeros(2)
    small = _shrink(one), _shrink(other)
    first, second = (_find_detail(gray, _find_content(gray), 13, 6) for gray in small)
    laid = _lay(second, _to_matrix(linear, shift, _SMALL))
    shift = linear @ cv2.phaseCorrelate(first * _WINDOW, laid * _WINDOW)[0] / _SMALL
    laid = _lay(second, _to_matrix(linear, shift, _SMALL))
    if _correlate(first, laid, _WINDOW) < _ROUGHLY:
        return 1.0
    linear, shift, correlation = _refine(*small, linear, shift, width=13, floor=6)
    if correlation < _COARSELY:
        return 1.0
    return 1 - max(0, _refine(np.float32(one), np.float32(other), linear, shift, width=7, floor=2)[2])


def _refine(one, other, linear, shift, width, floor):
    """Refines an affine map by detail of one scale; gives it, and the correlation of that detail."""
    side, contents = len(one), (_find_content(one), _find_content(other))
    details = (_find_detail(gray, content, width, floor) for gray, content in zip((one, other), contents, strict=True))
    smooth = [cv2.GaussianBlur(detail, (0, 0), width / 13) for detail in details]
    matrix = _to_matrix(linear, shift, side)
    mask = np.uint8(_intersect(*contents, matrix))
    try:
        _, matrix = cv2.findTransformECC(*smooth, matrix, cv2.MOTION_AFFINE, _CRITERIA, mask, 1)
    except cv2.error:  # it does not converge, as where nothing is in common
        return linear, shift, 0.0
    common = _intersect(*contents, matrix)
    details = (_find_detail(gray, common, width, floor) for gray in (one, _lay(other, matrix, cv2.INTER_CUBIC)))
    linear = np.float64(matrix[:, :2])
    shift = (matrix[:, 2] - _to_matrix(linear, 0, side)[:, 2]) / side
    return linear, shift, _correlate(*details, common)


def _resize(gray, side):
    mode = cv2.INTER_AREA if min(gray.shape) >= side else cv2.INTER_CUBIC
    return cv2.resize(gray, (side, side), interpolation=mode)


def _shrink(view):
    return np.float32(_resize(view, _SMALL))


def _find_detail(gray, mask, width, floor):
    """Takes the local mean off an image and divides by the local contrast, one far below `floor` left small."""
    share = np.maximum(cv2.blur(mask, (width, width)), 1e-3)
    detail = (gray - cv2.blur(gray * mask, (width, width)) / share) * mask
    return detail / np.sqrt(cv2.blur(detail * detail, (width, width)) / share + floor**2)


def _find_content(gray):
    """Gives 1 where an image has content, 0 where it is black or next to that: float32."""
    return _erode(gray >= _BLACK)


def _erode(mask):
    return cv2.erode(np.uint8(mask), np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)


def _intersect(one, other, matrix):
    """Gives 1 where both images have content when one is laid over the other, 0 everywhere where that is too little."""
    common = _erode(_lay(other, matrix) * one > 0.99)
    return common * (common.sum() >= max(_OVERLAP * min(one.sum(), other.sum()), 0.1 * one.size))


def _to_matrix(linear, shift, side):
    """Gives OpenCV's matrix of an affine map about the centre, its shift in sides: float32 `[2, 3]`."""
    return np.float32(np.column_stack([linear, shift * side + (np.eye(2) - linear) @ np.full(2, (side - 1) / 2)]))


def _lay(image, matrix, interpolation=cv2.INTER_LINEAR):
    return cv2.warpAffine(image, matrix, image.shape, flags=interpolation | cv2.WARP_INVERSE_MAP)


def _correlate(one, other, weight):
    """Correlates two images; the 0.02 takes it towards 0 where there is next to nothing but noise."""
    weight = weight / max(weight.sum(), 1)
    one, other = one - np.vdot(one, weight), other - np.vdot(other, weight)
    powers = np.vdot(one * one, weight) * np.vdot(other * other, weight)
    return float(np.vdot(one * other, weight) / (np.sqrt(powers) + 0.02))
