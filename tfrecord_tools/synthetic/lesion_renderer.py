"""Renders synthetic lesions."""

import cv2
import numpy as np


def draw_patient_appearance(rng):
    """Draws what a patient's moles have in common.

    Args:
        rng: `numpy.random.Generator`.

    Returns:
        Dict of skin tone and mole colour (BGR, float in [0, 1]), mole radius (of the image's half height), hairiness
        (mean number of hairs) and evenness (0 to 1: how round this patient's moles are).
    """
    pigment = rng.beta(1.5, 3)
    skin = np.array([0.68, 0.74, 0.90]) - pigment * np.array([0.36, 0.32, 0.28])
    mole = skin * np.array([0.46, 0.50, 0.66]) * rng.uniform(0.75, 1.3) * rng.uniform(0.9, 1.1, 3)
    radius, hairiness = rng.uniform(0.25, 0.42), rng.gamma(1.0, 5.0)
    skin, mole = skin.astype(np.float32), mole.astype(np.float32)
    return {"skin": skin, "mole": mole, "radius": radius, "hairiness": hairiness, "evenness": rng.uniform(0.3, 1.0)}


def draw_lesion(rng, look, severity, size):
    """Draws one dermoscopic image.

    Args:
        rng: `numpy.random.Generator`.
        look: See `patient_look`.
        severity: Departure from the look, 0 (an ordinary mole) to 1 (a textbook melanoma).
        size: (width, height) in pixels.

    Returns:
        uint8 `[height, width, 3]`, BGR; and the lesion's opacity, float32 `[h, w]` in [0, 1], at the image's size where
        that is at most 256 high, else smaller.
    """
    width, height = size
    scale = min(1.0, 256 / height)
    x, y = _grid(int(width * scale), int(height * scale))
    image = look["skin"] * (1 + 0.03 * _noise(rng, x.shape, 5)[..., None]) * (1 + 0.05 * rng.normal() * x[..., None])
    mask, dx, dy = _lesion_mask(rng, look, severity, x, y)
    image += mask[..., None] * (_lesion_color(rng, look, severity, dx, dy) - image)
    if rng.random() < 0.25:
        image *= np.clip((rng.uniform(1.15, 1.5) - np.hypot(x, y)) / 0.06, 0, 1)[..., None]
    image = cv2.resize(np.clip(image * 255, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    image = cv2.add(image, rng.integers(0, 9, image.shape, np.uint8))
    _draw_hairs(rng, image, rng.poisson(look["hairiness"]))
    if rng.random() < 0.15:
        _draw_ruler(rng, image)
    return image, mask


def draw_anywhere(count, side, seed):
    """Draws small lesions anywhere in an image, every other a textbook melanoma, to judge what explains a network.

    Args:
        count: Number of images.
        side: Side S in pixels, up to 128.
        seed: The same gives the same.

    Returns:
        Images, uint8 `[n, S, S, 3]`, RGB; masks of the lesions, bool `[n, S, S]`; and labels, 0 or 1, `[n]`.
    """
    rng, images, masks, labels = np.random.default_rng(seed), [], [], np.arange(count) % 2
    for label in labels:
        look = {**draw_patient_appearance(rng), "radius": rng.uniform(0.12, 0.2), "hairiness": 1.0}
        image, mask = draw_lesion(rng, look, float(label), (2 * side, 2 * side))
        top, left = rng.integers(side // 4, 3 * side // 4 + 1, 2)
        part = slice(top, top + side), slice(left, left + side)
        images.append(image[(*part, slice(None, None, -1))])
        masks.append(mask[part] > 0.5)
    return np.array(images), np.array(masks), labels


def _grid(width, height):
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return (x - (width - 1) / 2) / (height / 2), (y - (height - 1) / 2) / (height / 2)


def _noise(rng, shape, cells):
    """Smooth noise of mean 0 and deviation near 1, with about `cells` features across the height."""
    coarse = rng.normal(size=(cells, max(1, round(cells * shape[1] / shape[0])))).astype(np.float32)
    return cv2.resize(coarse, shape[::-1], interpolation=cv2.INTER_CUBIC)


def _lesion_mask(rng, look, severity, x, y):
    """Opacity of the lesion, and coordinates about its centre in units of its radius."""
    radius = look["radius"] * rng.uniform(0.85, 1.15) * (1 + 0.6 * severity)
    dx, dy = (x - rng.normal(0, 0.12)) / radius, (y - rng.normal(0, 0.1)) / radius
    angles = np.linspace(0, 2 * np.pi, 720)
    outline = np.ones(720)
    for order in range(1, 9):
        # Even low orders keep two axes of symmetry; the others are the melanoma's.
        roughness = 0.05 * (1.3 - look["evenness"]) + severity * (0.16 if order in (1, 3) else 0.07)
        outline += roughness * rng.normal() / np.sqrt(order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    index = ((np.arctan2(dy, dx) + np.pi) * (719 / (2 * np.pi))).astype(np.int32)
    softness = 0.22 * (1 - 0.8 * severity * (rng.random() < 0.8)) + 0.03
    edge = np.clip(0.5 + (outline.astype(np.float32)[index] - np.hypot(dx, dy)) / softness, 0, 1)
    return edge * edge * (3 - 2 * edge) * rng.uniform(0.85, 1.0), dx, dy


def _lesion_color(rng, look, severity, dx, dy):
    """BGR colour of the lesion at every pixel; severity adds black, blue-grey, red and white areas."""
    darkness = 1 - 0.18 * np.exp(-(dx**2 + dy**2)) + 0.10 * _noise(rng, dx.shape, 16) + 0.08 * _noise(rng, dx.shape, 48)
    colour = look["mole"] * rng.uniform(0.88, 1.12) * darkness[..., None]
    for foreign in ((0.10, 0.09, 0.12), (0.50, 0.42, 0.38), (0.28, 0.25, 0.62), (0.78, 0.78, 0.82)):
        foreign, strength = np.array(foreign, np.float32), severity * rng.uniform(0.5, 1.5)
        centre, spread = rng.normal(0, 0.5, 2).tolist(), rng.uniform(0.3, 0.7)
        area = np.exp(-((dx - centre[0]) ** 2 + (dy - centre[1]) ** 2) / spread**2)
        colour += np.clip(strength * area, 0, 0.9)[..., None] * (foreign - colour)
    return colour


def _draw_hairs(rng, image, count):
    height, width = image.shape[:2]
    steps = np.linspace(0, 1, 24)[:, None]
    for _ in range(min(count, 60)):
        start, bend, end = rng.uniform(-0.1, 1.1, (3, 2)) * (width, height)
        bend = (start + end) / 2 + 0.3 * (bend - (start + end) / 2)
        curve = (1 - steps) ** 2 * start + 2 * steps * (1 - steps) * bend + steps**2 * end
        shade, thickness = rng.integers(15, 70), max(1, round(height / 400 * rng.uniform(0.6, 2)))
        cv2.polylines(image, [curve.astype(np.int32)], False, [int(shade)] * 3, thickness, cv2.LINE_AA)


def _draw_ruler(rng, image):
    height, width = image.shape[:2]
    spacing, top = height / rng.uniform(16, 28), rng.random() < 0.5
    for tick in range(int(width / spacing)):
        at, length = int((tick + 0.5) * spacing), int(height * (0.07 if tick % 5 == 0 else 0.04))
        ends = (0, length) if top else (height - 1, height - 1 - length)
        cv2.line(image, (at, ends[0]), (at, ends[1]), (30, 30, 30), max(1, height // 300), cv2.LINE_AA)
