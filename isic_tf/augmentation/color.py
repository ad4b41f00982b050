"""Color augmentation, blur and noise, for images in [0, 1]."""

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from isic_tf.augmentation import resampling, stateless_rng
from isic_tf.augmentation.policies import BLUR_LIMIT

# ITU-R BT.601 luma.
_LUMA = (0.299, 0.587, 0.114)
# Parts of 1 in the weights of the blur.
_BLUR_PARTS = 256
# Tiles of local contrast along a side, as in CLAHE.
_TILES = 8
# How much CLAHE pulls a neighborhood towards mid-gray, relative to the contrast that it adds: fitted to OpenCV on 30
# real images at clip limits from 1.5 to 4 (experiments/LOG.md).
_LIFT = 0.23
KEYS = ("hue", "saturation", "saturation_shift", "value_shift", "local_contrast", "gain", "contrast", "brightness")


def adjust_color(images: tf.Tensor, params: dict[str, tf.Tensor]) -> tf.Tensor:
    """Changes hue, saturation, value, local contrast, gain, contrast and brightness, in this order, and clips.

    Hue, saturation, contrast and brightness are those of `tf.image.adjust_*`. Local contrast a adds
    a (luma - near + 0.23 (1/2 - near)), where `near` is the mean luma of 8x8 tiles, interpolated between their
    centers: the closest approximation of CLAHE without its histograms. Operations that are not in `params` are skipped.

    Args:
        images: float `[b, S, S, 3]` in [0, 1].
        params: See `random_parameters.sample_parameters`.

    Returns:
        Images of the same shape and dtype, in [0, 1].
    """
    given = {name: tf.cast(value, images.dtype)[:, None, None, None] for name, value in params.items() if name in KEYS}
    if {"hue", "saturation", "saturation_shift", "value_shift"} & given.keys():
        images = _shift_hsv(images, given)
    if "local_contrast" in given:
        luma = tf.reduce_sum(images * tf.constant(_LUMA, images.dtype), axis=-1)
        near = _smooth(luma)
        images = images + given["local_contrast"] * (luma - near + _LIFT * (0.5 - near))[..., None]
    if "gain" in given:
        images = images * given["gain"]
    if "contrast" in given:
        # A half-precision mean of so many pixels would be wrong by whole gray levels.
        mean = tf.cast(tf.reduce_mean(tf.cast(images, tf.float32), axis=(1, 2), keepdims=True), images.dtype)
        images = mean + given["contrast"] * (images - mean)
    if "brightness" in given:
        images = images + given["brightness"]
    return tf.clip_by_value(images, 0.0, 1.0)


def _shift_hsv(images: tf.Tensor, given: dict[str, tf.Tensor]) -> tf.Tensor:
    """Rotates the hue, scales and shifts the saturation, and shifts the value of the HSV hexcone (Smith 1978)."""
    # In half precision the hue of a saturated color would be wrong by several degrees.
    dtype = images.dtype
    images = tf.cast(images, tf.float32)
    given = {name: tf.cast(value, tf.float32) for name, value in given.items()}
    value = tf.reduce_max(images, axis=-1, keepdims=True)
    chroma = value - tf.reduce_min(images, axis=-1, keepdims=True)
    safe_value = tf.where(value > 0, value, tf.ones_like(value))
    safe_chroma = tf.where(chroma > 0, chroma, tf.ones_like(chroma))
    saturation = chroma / safe_value
    # Gray has no hue to saturate.
    changed = saturation * given.get("saturation", 1.0) + tf.sign(saturation) * given.get("saturation_shift", 0.0)
    changed = tf.clip_by_value(changed, 0.0, 1.0)
    new_value = tf.clip_by_value(value + given["value_shift"], 0.0, 1.0) if "value_shift" in given else value
    if "hue" not in given:
        # The distance of each channel from the largest stays, relative to value and saturation.
        return tf.cast(new_value * (1 - (value - images) / safe_chroma * changed), dtype)
    red, green, blue = tf.split(images, 3, axis=-1)
    # Channels are compared with each other and not with their maximum: where two are equal, both cases agree, so that
    # the last bit, which a compiler may round differently, does not matter.
    sector = tf.where(
        (red >= green) & (red >= blue),
        (green - blue) / safe_chroma,
        tf.where(green >= blue, 2 + (blue - red) / safe_chroma, 4 + (red - green) / safe_chroma),
    )
    place = tf.math.floormod(sector + given["hue"] / 60 + tf.constant([5.0, 3.0, 1.0]), 6.0)
    return tf.cast(new_value * (1 - changed * tf.clip_by_value(tf.minimum(place, 4 - place), 0.0, 1.0)), dtype)


def _smooth(luma: tf.Tensor) -> tf.Tensor:
    """Averages `[b, S, S]` over tiles and interpolates between their centers."""
    size = luma.shape[1]
    centers = (np.arange(_TILES) + 0.5) * size / _TILES - 0.5
    spread = np.stack([np.interp(np.arange(size), centers, row) for row in np.eye(_TILES)], axis=1)
    tile = (np.arange(size) + 0.5) * _TILES // size
    pool = np.stack([tile == number for number in range(_TILES)]).astype(np.float64)
    pool /= pool.sum(axis=1, keepdims=True)
    smooth = tf.constant(spread @ pool, luma.dtype)
    return tf.einsum("ij,bjk,lk->bil", smooth, luma, smooth)


def blur(images: tf.Tensor, sigma: tf.Tensor, axis: int, on_tpu: bool = False) -> tf.Tensor:
    """Applies a Gaussian blur along one axis; beyond the border the image is mirrored.

    Args:
        images: float `[b, S, S, 3]` in [0, 1].
        sigma: float32 `[b]`, standard deviation as a fraction of the side, up to `BLUR_LIMIT`; 0 for none. The weights
            of the pixels are rounded to 1/256.
        axis: 1 for vertical, 2 for horizontal.
        on_tpu: Whether to use a matrix product.

    Returns:
        Images of the same shape and dtype.
    """
    size = images.shape[1]
    radius = max(1, math.ceil(2 * BLUR_LIMIT * size))
    offsets = range(-radius, radius + 1)
    weights = tf.exp(-0.5 * (tf.constant([*offsets], tf.float32) / tf.maximum(sigma * size, 1e-3)[:, None]) ** 2)
    weights = tf.round(weights / tf.reduce_sum(weights, axis=1, keepdims=True) * _BLUR_PARTS) / _BLUR_PARTS
    taps = tf.unstack(weights, axis=1)
    taps[radius] += 1 - tf.add_n(taps)
    if on_tpu:
        return _blur_by_matrix(images, taps, axis)
    paddings = [[radius, radius] if dimension == axis else [0, 0] for dimension in range(4)]
    padded = tf.pad(images, paddings, "REFLECT")
    begin = [0, 0, 0, 0]
    count = [-1, -1, -1, -1]
    count[axis] = size
    parts = []
    for tap, weight in enumerate(taps):
        begin[axis] = tap
        parts.append(tf.cast(weight, images.dtype)[:, None, None, None] * tf.slice(padded, begin, count))
    return tf.add_n(parts)


def _blur_by_matrix(images: tf.Tensor, taps: Sequence[tf.Tensor], axis: int) -> tf.Tensor:
    size, radius = images.shape[axis], len(taps) // 2
    mirrored = [resampling.mirror(tf.range(size) + offset, size - 1) for offset in range(-radius, radius + 1)]
    matrix = resampling.make_matrix([index[None] for index in mirrored], [tap[:, None] for tap in taps], size)
    # A TPU multiplies numbers of eight bits: the weights and the first part are exact, and the second is small.
    exact = tf.cast(images, tf.float32)
    coarse = tf.floor(exact * _BLUR_PARTS) / _BLUR_PARTS
    formula = "bni,bijc->bnjc" if axis == 1 else "bni,bjic->bjnc"
    blurred = tf.einsum(formula, matrix, coarse) + tf.einsum(formula, matrix, exact - coarse)
    return tf.cast(blurred, images.dtype)


def add_noise(images: tf.Tensor, strength: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
    """Adds independent noise to every channel of every pixel, and clips to [0, 1].

    Args:
        images: float `[b, S, S, 3]` in [0, 1].
        strength: float32 `[b]`, standard deviation.
        seeds: int64 `[b, 2]`.

    Returns:
        Images of the same shape and dtype.
    """
    noise = stateless_rng.noise(seeds, images.shape[1], stream=stateless_rng.PIXELS) * strength[:, None, None, None]
    return tf.clip_by_value(images + tf.cast(noise, images.dtype), 0.0, 1.0)
