"""Renders synthetic dermoscopic images of lesions."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np

# Height in pixels up to which skin and lesion are rendered; larger images are enlarged.
_RENDER_HEIGHT = 256
# Black, blue-gray, red and white (BGR, 0 to 1): the areas that severity adds to a lesion.
_FOREIGN_COLORS = ((0.10, 0.09, 0.12), (0.50, 0.42, 0.38), (0.28, 0.25, 0.62), (0.78, 0.78, 0.82))
_MAX_HAIRS = 60


def draw_patient_appearance(rng: np.random.Generator) -> dict[str, Any]:
    """Samples what the moles of one patient have in common.

    Args:
        rng: `numpy.random.Generator`.

    Returns:
        Dict of `skin` and `mole`, colors (float32 `[3]`, BGR in [0, 1]); `radius` of moles (fraction of half the image
        height); `hairiness` (mean number of hairs); and `evenness` (0 to 1: how round the moles are).

    Examples:
        >>> appearance = draw_patient_appearance(np.random.default_rng(0))
        >>> sorted(appearance), appearance["skin"].shape
        (['evenness', 'hairiness', 'mole', 'radius', 'skin'], (3,))
    """
    # The order of the samples fixes the images of a seed.
    pigment = rng.beta(1.5, 3)
    skin = np.array([0.68, 0.74, 0.90]) - pigment * np.array([0.36, 0.32, 0.28])
    mole = skin * np.array([0.46, 0.50, 0.66]) * rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    radius = rng.uniform(0.25, 0.42)
    hairiness = rng.gamma(1.0, 5.0)
    return {
        "skin": skin.astype(np.float32),
        "mole": mole.astype(np.float32),
        "radius": radius,
        "hairiness": hairiness,
        "evenness": rng.uniform(0.3, 1.0),
    }


def draw_lesion(
    rng: np.random.Generator, appearance: Mapping[str, Any], severity: float, size: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Renders one dermoscopic image.

    Args:
        rng: `numpy.random.Generator`.
        appearance: See `draw_patient_appearance`.
        severity: Departure from that appearance, 0 (an ordinary mole) to 1 (a textbook melanoma).
        size: (width, height) in pixels.

    Returns:
        uint8 `[height, width, 3]`, BGR; and the opacity of the lesion, float32 `[h, w]` in [0, 1], at the size of the
        image if that is at most 256 high, else smaller.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> image, mask = draw_lesion(rng, draw_patient_appearance(rng), severity=0.9, size=(64, 48))
        >>> image.shape, mask.shape
        ((48, 64, 3), (48, 64))
    """
    return plan_lesion(rng, appearance, severity, size)()


def plan_lesion(
    rng: np.random.Generator, appearance: Mapping[str, Any], severity: float, size: tuple[int, int]
) -> Callable[[], tuple[np.ndarray, np.ndarray]]:
    """Samples all that is random in one image, which is quick, so that images can be rendered in threads.

    Args:
        rng: See `draw_lesion`; left as if the image had been rendered.
        appearance: See `draw_lesion`.
        severity: See `draw_lesion`.
        size: See `draw_lesion`.

    Returns:
        Function that renders the image, see `draw_lesion`; it may be called in any thread.
    """
    # The order of the samples fixes the images of a seed.
    width, height = size
    scale = min(1.0, _RENDER_HEIGHT / height)
    x, y = _make_grid(int(width * scale), int(height * scale))
    texture = _sample_noise(rng, x.shape, 5)
    slope = rng.normal()
    render_mask = _plan_mask(rng, appearance, severity)
    render_color = _plan_color(rng, appearance, severity, x.shape)
    view_radius = rng.uniform(1.15, 1.5) if rng.random() < 0.25 else None
    grain = rng.integers(0, 9, (height, width, 3), np.uint8)
    hairs = _sample_hairs(rng, rng.poisson(appearance["hairiness"]), size)
    ruler = (rng.uniform(16, 28), rng.random() < 0.5) if rng.random() < 0.15 else None

    def render() -> tuple[np.ndarray, np.ndarray]:
        skin_light = [1 + 0.03 * texture(), 1 + 0.05 * slope * x]
        mask, dx, dy = render_mask(x, y)
        view = None if view_radius is None else np.clip((view_radius - np.hypot(x, y)) / 0.06, 0, 1)
        planes = []
        # One color after the other: a plane fits the cache of a core.
        for skin, plane in zip(appearance["skin"], render_color(dx, dy), strict=True):
            image = skin * skin_light[0]
            image *= skin_light[1]
            plane -= image
            plane *= mask
            image += plane
            if view is not None:
                image *= view
            image *= 255
            planes.append(np.clip(image, 0, 255, out=image).astype(np.uint8))
        canvas = cv2.resize(cv2.merge(planes), size, interpolation=cv2.INTER_LINEAR)
        canvas = cv2.add(canvas, grain)
        for curve, shade, thickness in hairs:
            cv2.polylines(canvas, [curve], False, [shade] * 3, thickness, cv2.LINE_AA)
        if ruler:
            _draw_ruler(canvas, *ruler)
        return canvas, mask

    return render


def draw_anywhere(count: int, side: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Renders small lesions anywhere in an image, every other one a textbook melanoma, to evaluate explanations.

    Args:
        count: Number of images n.
        side: Side S in pixels, up to 128.
        seed: Random seed; the same seed gives the same images.

    Returns:
        Images, uint8 `[n, S, S, 3]`, RGB; masks of the lesions, bool `[n, S, S]`; and labels, 0 or 1, int64 `[n]`.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = []
    masks = []
    for label in labels:
        appearance = {**draw_patient_appearance(rng), "radius": rng.uniform(0.12, 0.2), "hairiness": 1.0}
        image, mask = draw_lesion(rng, appearance, float(label), (2 * side, 2 * side))
        top, left = rng.integers(side // 4, 3 * side // 4 + 1, 2)
        rows = slice(top, top + side)
        columns = slice(left, left + side)
        images.append(image[rows, columns, ::-1])
        masks.append(mask[rows, columns] > 0.5)
    return np.array(images), np.array(masks), labels


@functools.lru_cache(maxsize=8)
def _make_grid(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns x and y of each pixel, from the center in units of half the height: float32 `[height, width]`."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (x - (width - 1) / 2) / (height / 2), (y - (height - 1) / 2) / (height / 2)


def _sample_noise(rng: np.random.Generator, shape: tuple[int, ...], cells: int) -> Callable[[], np.ndarray]:
    """Samples smooth noise of mean 0 and deviation near 1, with about `cells` features across the height."""
    coarse = rng.normal(size=(cells, max(1, round(cells * shape[1] / shape[0])))).astype(np.float32)
    return lambda: cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _plan_mask(
    rng: np.random.Generator, appearance: Mapping[str, Any], severity: float
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Returns a function from x and y to the lesion's opacity, and the coordinates from its center in its radius."""
    radius = appearance["radius"] * rng.uniform(0.85, 1.15) * (1 + 0.6 * severity)
    center_x = rng.normal(0, 0.12)
    center_y = rng.normal(0, 0.1)
    angles = np.linspace(0, 2 * np.pi, 720)
    outline = np.ones(720)
    for order in range(1, 9):
        # Even low orders keep two axes of symmetry; the others make a melanoma asymmetric.
        roughness = 0.05 * (1.3 - appearance["evenness"]) + severity * (0.16 if order in (1, 3) else 0.07)
        outline += roughness * rng.normal() / np.sqrt(order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    softness = 0.22 * (1 - 0.8 * severity * (rng.random() < 0.8)) + 0.03
    opacity = rng.uniform(0.85, 1.0)

    def render(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        dx = (x - center_x) / radius
        dy = (y - center_y) / radius
        index = ((np.arctan2(dy, dx) + np.pi) * (719 / (2 * np.pi))).astype(np.int32)
        edge = np.clip(0.5 + (outline.astype(np.float32)[index] - np.hypot(dx, dy)) / softness, 0, 1)
        return edge * edge * (3 - 2 * edge) * opacity, dx, dy

    return render


def _plan_color(
    rng: np.random.Generator, appearance: Mapping[str, Any], severity: float, shape: tuple[int, ...]
) -> Callable[[np.ndarray, np.ndarray], list[np.ndarray]]:
    """Returns a function from coordinates to the colors of the lesion: blue, green and red, float32 `[h, w]`.

    Severity adds black, blue-gray, red and white.
    """
    coarse = _sample_noise(rng, shape, 16)
    fine = _sample_noise(rng, shape, 48)
    mole = appearance["mole"] * rng.uniform(0.88, 1.12)
    areas = []
    for foreign in _FOREIGN_COLORS:
        strength = severity * rng.uniform(0.5, 1.5)
        center_x, center_y = rng.normal(0, 0.5, 2).tolist()
        areas.append((np.array(foreign, np.float32), strength, center_x, center_y, rng.uniform(0.3, 0.7)))

    def render(dx: np.ndarray, dy: np.ndarray) -> list[np.ndarray]:
        darkness = 1 - 0.18 * np.exp(-(dx**2 + dy**2)) + 0.10 * coarse() + 0.08 * fine()
        color = [plane * darkness for plane in mole]
        for foreign, strength, center_x, center_y, spread in areas:
            area = np.exp(-((dx - center_x) ** 2 + (dy - center_y) ** 2) / spread**2)
            share = np.clip(strength * area, 0, 0.9)
            for plane, shade in zip(color, foreign, strict=True):
                plane += share * (shade - plane)
        return color

    return render


def _sample_hairs(rng: np.random.Generator, count: int, size: tuple[int, int]) -> list[tuple[np.ndarray, int, int]]:
    """Samples dark curved hairs: points int32 `[24, 2]`, shade, and thickness in pixels."""
    steps = np.linspace(0, 1, 24)[:, None]
    hairs = []
    for _ in range(min(count, _MAX_HAIRS)):
        start, bend, end = rng.uniform(-0.1, 1.1, (3, 2)) * size
        control = (start + end) / 2 + 0.3 * (bend - (start + end) / 2)
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * control + steps**2 * end
        shade = int(rng.integers(15, 70))
        hairs.append((curve.astype(np.int32), shade, max(1, round(size[1] / 400 * rng.uniform(0.6, 2)))))
    return hairs


def _draw_ruler(image: np.ndarray, ticks: float, at_top: bool) -> None:
    """Draws the ticks of a ruler along the top or bottom edge of an image, so many in a length of its height."""
    height, width = image.shape[:2]
    spacing = height / ticks
    for tick in range(int(width / spacing)):
        at = int((tick + 0.5) * spacing)
        length = int(height * (0.07 if tick % 5 == 0 else 0.04))
        start = 0 if at_top else height - 1
        end = length if at_top else height - 1 - length
        cv2.line(image, (at, start), (at, end), (30, 30, 30), max(1, height // 300), cv2.LINE_AA)
