"""Ink, stickers and rulers on the skin."""

import cv2
import numpy as np

# By how much blue or green exceeds red in ink, and exceeds it more than on this image's skin.
_INK_EXCESS = 40
# All of the following at 512 px. Ticks are narrower than this; hair is, too.
_WIDEST_TICK = 17
_TICK_DARKNESS = 30
_SHORTEST_TICK = 10
_LONGEST_TICK = 200
_SLENDERNESS = 3
# Share of its bounding strip that a straight line fills; a curved hair fills less.
_STRAIGHTNESS = 0.6
_MOST_LINES = 500
_PARALLEL = np.cos(np.radians(5))


def ink_share(image: np.ndarray, content: np.ndarray) -> float:
    """Computes the share of pixels as blue, purple or green as ink and stickers; skin and lesions are redder.

    Args:
        image: uint8 `[height, width, 3]`, RGB.
        content: bool `[height, width]`, pixels to look at.

    Returns:
        0 to 1.

    Examples:
        >>> image = np.full((2, 2, 3), (220, 170, 150), np.uint8)
        >>> image[0, 0] = 60, 40, 160
        >>> ink_share(image, np.ones((2, 2), bool))
        0.25
    """
    pixels = image[content].astype(np.int16)
    # Not less than 0, so that red skin does not turn a gray lesion into ink.
    excess = pixels[:, 1:] - pixels[:, :1]
    usual = np.maximum(np.median(excess, axis=0), 0)
    return float(np.mean((excess > usual + _INK_EXCESS).any(axis=1)))


def ruler_share(image: np.ndarray) -> float:
    """Computes the share of the image that the tick marks of a ruler take up.

    Thin dark lines are found by a black-hat transform, as in hair removal (DullRazor: Lee et al., 1997). Ticks are
    those that are straight and have two parallel neighbors in equal steps, beside them; hair does not grow like this.
    A tick takes up its length times the step.

    Args:
        image: uint8 `[height, width, 3]`, RGB, 512 px on its longer side.

    Returns:
        0 to about 1.
    """
    lines = _find_lines(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY))
    # Hundreds of lines are hair or texture.
    if not 3 <= len(lines) <= _MOST_LINES:
        return 0.0
    centers, directions, lengths = lines[:, :2], lines[:, 2:4], lines[:, 4]
    offsets = centers[None] - centers[:, None]
    along = (offsets * directions[:, None]).sum(axis=2)
    across = offsets[..., 1] * directions[:, None, 0] - offsets[..., 0] * directions[:, None, 1]
    parallel = np.abs(directions @ directions.T) > _PARALLEL
    reach = lengths[:, None]
    beside = parallel & (np.abs(along) < 0.6 * reach) & (np.abs(across) < 2.5 * reach) & (np.abs(across) > 2)
    after = np.where(beside & (across > 0), across, np.inf).min(axis=1)
    before = np.where(beside & (across < 0), -across, np.inf).min(axis=1)
    has_both = np.isfinite(after) & np.isfinite(before)
    after, before, lengths = after[has_both], before[has_both], lengths[has_both]
    step = (after + before) / 2
    is_tick = np.abs(after - before) < 0.2 * step
    return float((step * lengths)[is_tick].sum() / (image.shape[0] * image.shape[1]))


def _find_lines(gray: np.ndarray) -> np.ndarray:
    """Returns center x, y, direction x, y and length of the straight dark lines: float `[n, 5]`."""
    thin = cv2.morphologyEx(gray, cv2.MORPH_BLACKHAT, np.ones((_WIDEST_TICK, _WIDEST_TICK), np.uint8))
    _, labels, boxes, _ = cv2.connectedComponentsWithStats((thin > _TICK_DARKNESS).astype(np.uint8))
    long_enough = np.maximum(boxes[:, 2], boxes[:, 3]) >= 0.7 * _SHORTEST_TICK
    numbers = np.flatnonzero(long_enough)[1:]
    lines = []
    # Noise has thousands; a ruler that dominates is found among the first ones, too.
    for number in numbers[: 2 * _MOST_LINES]:
        left, top, width, height, area = boxes[number]
        part = (labels[top : top + height, left : left + width] == number).astype(np.uint8)
        line = _fit_line(cv2.moments(part, binaryImage=True), area)
        if line is not None:
            x, y, *rest = line
            lines.append((left + x, top + y, *rest))
    return np.array(lines, float).reshape(-1, 5)


def _fit_line(moments: dict[str, float], area: float) -> tuple[float, float, float, float, float] | None:
    """Fits a strip of the same second moments; None if the pixels are no straight line."""
    covariance = np.array([[moments["mu20"], moments["mu11"]], [moments["mu11"], moments["mu02"]]]) / area
    variances, vectors = np.linalg.eigh(covariance)
    # A strip of n pixels has the variance (n^2 - 1) / 12.
    width, length = np.sqrt(12 * np.maximum(variances, 0) + 1)
    is_slender = max(_SHORTEST_TICK, _SLENDERNESS * width) <= length <= _LONGEST_TICK
    if not is_slender or area < _STRAIGHTNESS * length * width:
        return None
    direction = vectors[:, 1]
    return moments["m10"] / area, moments["m01"] / area, direction[0], direction[1], length
