"""Geometric augmentation: flips, rotation, shear, zoom, shift and distortion, in one resampling."""

import math

import tensorflow as tf

FILLS = ("reflect", "edge", "constant")
# Cells of the grid distortion along a side, as in albumentations.
CELLS = 5


def matrices(params: dict[str, tf.Tensor]) -> tf.Tensor:
    """Composes transposition, flips, rotation by right angles, rotation, shear, zoom and shift.

    Args:
        params: See `random_parameters.sample_parameters`; the image is changed in this order.

    Returns:
        float32 `[b, 2, 3]`: maps (x, y, 1) of an output pixel, relative to the center, in units of the side and with y
        down, to (x, y) of the input. Exact for flips and right angles, so that these move pixels without blurring.
    """
    quarters = tf.cast(params["rotate90"], tf.int32)
    quarter_cos = tf.gather([1.0, 0.0, -1.0, 0.0], quarters)
    quarter_sin = tf.gather([0.0, 1.0, 0.0, -1.0], quarters)

    def direction(degrees: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        cos = tf.cos(degrees * math.pi / 180)
        sin = tf.sin(degrees * math.pi / 180)
        return cos * quarter_cos - sin * quarter_sin, sin * quarter_cos + cos * quarter_sin

    # The inverse of a counterclockwise rotation, where y points down; sheared, its second axis lags behind.
    cos, sin = direction(params["rotation"])
    sheared_cos, sheared_sin = direction(params["rotation"] - params["shear"])
    across = tf.stack([cos / params["zoom_x"], -sheared_sin / params["zoom_y"]], -1)
    down = tf.stack([sin / params["zoom_x"], sheared_cos / params["zoom_y"]], -1)
    across *= 1 - 2 * params["flip_x"][:, None]
    down *= 1 - 2 * params["flip_y"][:, None]
    swap = params["transpose"][:, None] > 0
    linear = tf.stack([tf.where(swap, down, across), tf.where(swap, across, down)], axis=1)
    shift = tf.stack([params["shift_x"], params["shift_y"]], -1)[:, None]
    return tf.concat([linear, -tf.reduce_sum(linear * shift, axis=2, keepdims=True)], axis=2)


def warp(
    images: tf.Tensor,
    matrices: tf.Tensor,
    fill: str = "reflect",
    lens: tf.Tensor | None = None,
    grid: tf.Tensor | None = None,
) -> tf.Tensor:
    """Distorts images by a lens or a grid, then warps them affinely; one bilinear resampling.

    Uses a gather, since `ImageProjectiveTransformV3` does not compile under XLA.

    Args:
        images: float `[b, S, S, 3]`.
        matrices: See `matrices`.
        fill: What lies beyond the border: the mirrored image (`reflect`), its border pixels (`edge`) or black
            (`constant`).
        lens: float32 `[b]`, k of the radial distortion 1 + k r^2 + k r^4, r in units of the side, as OpenCV's
            `initUndistortRectifyMap` with k1 = k2 = k; or None. Inside the distortion the border is mirrored.
        grid: float32 `[b, 2, 5]`, slopes of the piecewise linear map of x and y in five cells (1: unchanged), as
            albumentations' GridDistortion; or None. The border is treated as for the lens.

    Returns:
        `[b, S, S, 3]` of the dtype of `images`.
    """
    size = images.shape[1]
    axis = tf.range(size, dtype=tf.float32) - (size - 1) / 2
    x = axis[None, None, :]
    y = axis[None, :, None]
    # Not a matrix product: accelerators round its inputs to a few bits, which are whole pixels here.
    rows = [tf.unstack(row[:, None, None], axis=-1) for row in tf.unstack(matrices, axis=1)]
    source = [x * along_x + y * along_y + size * shift for along_x, along_y, shift in rows]
    inside = None
    if fill == "constant":
        # Fades within one pixel, as bilinear sampling does against black.
        reach = [tf.clip_by_value((size + 1) / 2 - tf.abs(part), 0.0, 1.0) for part in source]
        inside = tf.cast(reach[0] * reach[1], images.dtype)[..., None]
    if fill != "reflect":
        source = [tf.clip_by_value(part, -(size - 1) / 2, (size - 1) / 2) for part in source]
    elif lens is not None or grid is not None:
        source = [_mirror(part + (size - 1) / 2, size) - (size - 1) / 2 for part in source]
    if lens is not None:
        square = (source[0] ** 2 + source[1] ** 2) / size**2
        factor = 1 + lens[:, None, None] * (square + square**2)
        source = [part * factor for part in source]
    if grid is not None:
        source = [_bend(part, slopes, size) for part, slopes in zip(source, tf.unstack(grid, axis=1), strict=True)]
    sampled = _sample(images, *[_mirror(part + (size - 1) / 2, size) for part in source])
    return sampled if inside is None else sampled * inside


def _bend(position: tf.Tensor, slopes: tf.Tensor, size: int) -> tf.Tensor:
    """Maps pixels, relative to the center, by a line of `CELLS` pieces that keeps the first border."""
    cells = (position / size + 0.5) * CELLS
    pieces = [slopes[:, cell, None, None] * tf.clip_by_value(cells - cell, 0.0, 1.0) for cell in range(CELLS)]
    return (tf.add_n(pieces) / CELLS - 0.5) * size


def _mirror(position: tf.Tensor, size: int) -> tf.Tensor:
    """Folds positions back into [0, size - 1], without repeating the border pixel."""
    span = size - 1
    return span - tf.abs(tf.math.floormod(position, 2.0 * span) - span)


def _sample(images: tf.Tensor, x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
    size = images.shape[1]
    left, top = (tf.clip_by_value(tf.floor(part), 0, size - 2) for part in (x, y))
    right, down = (tf.cast(part, images.dtype)[..., None] for part in (x - left, y - top))
    first = tf.cast(top * size + left, tf.int32)
    pixels = tf.reshape(images, [-1, size * size, 3])

    def at(offset: int) -> tf.Tensor:
        return tf.gather(pixels, first + offset, batch_dims=1)

    # Interpolated so that nothing is added at the exact place of a pixel.
    above = (1 - right) * at(0) + right * at(1)
    below = (1 - right) * at(size) + right * at(size + 1)
    return (1 - down) * above + down * below
