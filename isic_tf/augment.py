"""Augmentation on the device: draw parameters from each record's seed, then apply them to the batch.

Every number is drawn by integer arithmetic from the record's seed, so that (seed, epoch, record) fixes it on CPU, GPU
and TPU, whatever the batch size, the replica or the order; only mixup and cutmix also depend on the record's neighbour
in the batch. All of it compiles under XLA with static shapes.
"""

import math

import numpy as np
import scipy.special
import tensorflow as tf

from isic_tf import colour, devices, draws, occlude, policies, warp

# What `warp.matrices` takes; one of them brings all.
GEOMETRY = ("transpose", "flip_x", "flip_y", "turn", "rotation", "shear", "zoom_x", "zoom_y", "shift_x", "shift_y")
# Numbers for each operation: its chance, two for its value, and one to spare.
_EACH = 4
# Steps of a Beta distribution's table.
_QUANTILES = 4096


def sample(seeds, policy):
    """Draws the parameters of a batch.

    Args:
        seeds: int64 `[b, 2]`, one a record.
        policy: See `policies`.

    Returns:
        Dict of tensors that begin with b: float32 `[b]` for the policy's operations, the value that changes nothing
        where an image does not get one. Any of `GEOMETRY` brings all of them, with `zoom` and `aspect` multiplied into
        `zoom_x` and `zoom_y`. Besides `lens` and `grid` (float32 `[b, 2, 5]`, see `warp.warp`), `hair` has `hairs`
        (see `occlude.draw_hairs`), `microscope` has `microscope_x` and `microscope_y`, `dropout` and `cutmix` have
        their middles (`[b, n, 2]`, `[b, 1, 2]`) and `noise` has `noise_seeds` (int64 `[b, 2]`).
    """
    numbers = tf.unstack(draws.uniform(seeds, _EACH * len(policies.OPERATIONS)), axis=1)
    slots = {name: numbers[_EACH * place :][:_EACH] for place, name in enumerate(policies.OPERATIONS)}
    given = [name for name in policies.OPERATIONS if name in policy]
    active = _choose(policy, given, slots)
    params = {}
    for name in given:
        value = _draw(name, policy[name], *slots[name][1:3])
        params[name] = tf.where(active[name], value, policies.OPERATIONS[name][0])
    return _complete(params, seeds, policy)


def _choose(policy, given, slots):
    """Gives for each operation which images get it, bool `[b]`."""
    count, picked = policy.get("pick", (0, ()))
    active, begun = {}, {}
    for name in given:
        entry, chance = policy[name], slots[name][0]
        if name in picked:
            rank = tf.add_n([tf.cast(slots[other][0] < chance, tf.int32) for other in picked])
            active[name] = rank < count
            continue
        label = entry.get("together") or entry.get("instead")
        # Operations with a common label share the chance drawn for the first of them.
        chance, low = begun.get(label, (chance, 0.0)) if label else (chance, 0.0)
        high = low + entry.get("p", 1.0)
        active[name] = (low <= chance) & (chance < high)
        if label:
            begun[label] = chance, high if "instead" in entry else 0.0
    return active


def _draw(name, entry, first, second):
    if name == "turn":
        return tf.floor(4 * first)
    if name in policies.SWITCHES:
        return tf.ones_like(first)
    if name in policies.MIXES:
        steps = (np.arange(_QUANTILES) + 0.5) / _QUANTILES
        table = tf.constant(scipy.special.betaincinv(entry["alpha"], entry["alpha"], steps), tf.float32)
        return tf.gather(table, tf.cast(first * _QUANTILES, tf.int32))
    if "normal" in entry:
        mean, deviation = entry["normal"]
        _, low, high = policies.OPERATIONS[name]
        return tf.clip_by_value(mean + deviation * draws.normal(first, second), low, high)
    low, high = entry["uniform"]
    return low + (high - low) * first


def _complete(params, seeds, policy):
    """Adds what belongs to the drawn operations."""
    neutral = tf.zeros_like(seeds[:, 0], tf.float32)
    zoom, aspect = params.pop("zoom", neutral + 1), params.pop("aspect", neutral + 1)
    if policy.keys() & {*GEOMETRY, "zoom", "aspect"}:
        for name in GEOMETRY:
            params.setdefault(name, neutral + policies.OPERATIONS[name][0])
        params["zoom_x"] *= zoom * tf.sqrt(aspect)
        params["zoom_y"] *= zoom / tf.sqrt(aspect)
    if "grid" in params:
        cells = draws.uniform(seeds, 2 * warp.CELLS, draws.CELLS)
        params["grid"] = 1 + params["grid"][:, None, None] * (2 * tf.reshape(cells, [-1, 2, warp.CELLS]) - 1)
    if "hair" in params:
        high = policy["hair"].get("uniform", [0, occlude.MOST_HAIRS])[1]
        params["hairs"] = occlude.draw_hairs(seeds, math.ceil(high))
    if "microscope" in params:
        x, y = tf.unstack(draws.uniform(seeds, 2, draws.FIELD), axis=1)
        # Up to a twentieth of the side off the middle.
        params |= {"microscope_x": (x - 0.5) / 10, "microscope_y": (y - 0.5) / 10}
    if "dropout" in params:
        count = policy["dropout"].get("count", 1)
        params["dropout_middles"] = tf.reshape(draws.uniform(seeds, 2 * count, draws.HOLES), [-1, count, 2])
    if "cutmix" in params:
        params["cutmix_middles"] = draws.uniform(seeds, 2, draws.BOX)[:, None]
    if "noise" in params:
        params["noise_seeds"] = seeds
    return params


def as_float(images, dtype=tf.float32):
    """Turns uint8 images into floating point in [0, 1], the model's input."""
    # A product, since compilers turn a division by a constant into one and lose a bit.
    return tf.cast(images, dtype) * (1 / 255)


def apply(images, params, fill="reflect", dtype=tf.float32, training=True, wrap=lambda stage: stage):
    """Applies drawn parameters, but for mixup and cutmix; deterministic.

    Args:
        images: uint8 `[b, S, S, 3]`.
        params: See `sample`.
        fill: See `warp.warp`.
        dtype: float32, or bfloat16 for the pixels; positions are float32 in any case.
        training: Whether to change anything.
        wrap: What to make of each stage's function before it is called.

    Returns:
        `dtype` `[b, S, S, 3]` in [0, 1].
    """
    stages = _stages(params.keys(), fill) if training else []
    if not stages:
        return as_float(images, dtype)
    first, *others = stages
    images = wrap(lambda images, params: first(as_float(images, dtype), params))(images, params)
    for stage in others:
        images = wrap(stage)(images, params)
    return images


def _stages(given, fill):
    """Lists the functions that apply what is given: warp, hair, colour, blur, noise, microscope and dropout."""

    def resample(images, params):
        still = tf.constant([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        matrices = warp.matrices(params) if "rotation" in params else still
        return warp.warp(images, matrices, fill, params.get("lens"), params.get("grid"))

    def occlude_last(images, params):
        if "microscope" in params:
            images = occlude.microscope(images, *(params[f"microscope{end}"] for end in ("", "_x", "_y")))
        if "dropout" in params:
            images = occlude.dropout(images, params["dropout"], params["dropout_middles"])
        return images

    stages = [
        ({*GEOMETRY, "lens", "grid"}, resample),
        ({"hair"}, lambda images, params: occlude.hair(images, params["hair"], params["hairs"])),
        ({*colour.KEYS}, colour.recolour),
        ({"blur"}, lambda images, params: colour.blur(images, params["blur"], axis=1)),
        ({"blur"}, lambda images, params: colour.blur(images, params["blur"], axis=2)),
        ({"noise"}, lambda images, params: colour.add_noise(images, params["noise"], params["noise_seeds"])),
        ({"microscope", "dropout"}, occlude_last),
    ]
    return [stage for names, stage in stages if names & given]


def mix(images, labels, params):
    """Mixes each image and its label with those of its neighbour in the batch: mixup, then cutmix.

    Args:
        images: float `[b, S, S, 3]`.
        labels: float32 `[b]` or `[b, c]`.
        params: See `sample`: `mixup` and `cutmix` are the shares that stay.

    Returns:
        Images and labels of the same shapes; a label is mixed as its pixels are.
    """
    if "mixup" in params:
        share = params["mixup"]
        weight = tf.cast(share, images.dtype)[:, None, None, None]
        images = weight * images + (1 - weight) * tf.roll(images, 1, axis=0)
        labels = _mix_labels(labels, share)
    if "cutmix" in params:
        side = tf.sqrt(1 - params["cutmix"])
        own = occlude.dropout(tf.ones_like(images[..., :1]), side, params["cutmix_middles"])
        images = own * images + (1 - own) * tf.roll(images, 1, axis=0)
        share = tf.reduce_mean(tf.cast(own, tf.float32), axis=(1, 2, 3))
        labels = _mix_labels(labels, share)
    return images, labels


def _mix_labels(labels, share):
    share = tf.reshape(share, [-1] + [1] * (labels.shape.rank - 1))
    return share * labels + (1 - share) * tf.roll(labels, 1, axis=0)


def make_augment(policy, dtype=tf.float32):
    """Creates the function that a training step calls.

    Args:
        policy: See `policies`.
        dtype: See `apply`.

    Returns:
        Function from uint8 `[b, S, S, 3]`, float32 `[b]` or `[b, c]` labels and int64 `[b, 2]` seeds to `dtype`
        `[b, S, S, 3]` in [0, 1] and labels of the same shape.
    """
    # Compiled, a stage takes a quarter of the time. Each by itself: in one program XLA would compute what is blurred
    # again for each tap of the blur. On a TPU all is compiled in any case.
    jit = True if devices.compiles_for_host() else None

    def compiled(function):
        return tf.function(function, jit_compile=jit, autograph=False)

    draw, mixed = compiled(lambda seeds: sample(seeds, policy)), compiled(mix)

    @tf.function(autograph=False)
    def augment(images, labels, seeds):
        params = draw(seeds)
        images = apply(images, params, policy.get("fill", "reflect"), dtype, wrap=compiled)
        return mixed(images, labels, params) if policy.keys() & set(policies.MIXES) else (images, labels)

    return augment
