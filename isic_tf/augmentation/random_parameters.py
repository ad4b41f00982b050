"""Samples the parameters of augmentation operations for a batch, on the device."""

import math

import numpy as np
import scipy.special
import tensorflow as tf

from isic_tf.augmentation import geometric, occlusion, policies, stateless_rng

# What `geometric.matrices` takes; one of them brings all.
GEOMETRY = ("transpose", "flip_x", "flip_y", "turn", "rotation", "shear", "zoom_x", "zoom_y", "shift_x", "shift_y")
# Numbers for each operation: its chance, two for its value, and one to spare.
_EACH = 4
# Steps of a Beta distribution's table.
_QUANTILES = 4096


def sample_parameters(seeds, policy):
    """Draws the parameters of a batch.

    Args:
        seeds: int64 `[b, 2]`, one a record.
        policy: See `policies`.

    Returns:
        Dict of tensors that begin with b: float32 `[b]` for the policy's operations, the value that changes nothing
        where an image does not get one. Any of `GEOMETRY` brings all of them, with `zoom` and `aspect` multiplied into
        `zoom_x` and `zoom_y`. Besides `lens` and `grid` (float32 `[b, 2, 5]`, see `geometric.warp`), `hair` has `hairs`
        (see `occlusion.draw_hairs`), `microscope` has `microscope_x` and `microscope_y`, `dropout` and `cutmix` have
        their middles (`[b, n, 2]`, `[b, 1, 2]`) and `noise` has `noise_seeds` (int64 `[b, 2]`).
    """
    numbers = tf.unstack(stateless_rng.uniform(seeds, _EACH * len(policies.OPERATIONS)), axis=1)
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
        return tf.clip_by_value(mean + deviation * stateless_rng.normal(first, second), low, high)
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
        cells = stateless_rng.uniform(seeds, 2 * geometric.CELLS, stateless_rng.CELLS)
        params["grid"] = 1 + params["grid"][:, None, None] * (2 * tf.reshape(cells, [-1, 2, geometric.CELLS]) - 1)
    if "hair" in params:
        high = policy["hair"].get("uniform", [0, occlusion.MOST_HAIRS])[1]
        params["hairs"] = occlusion.draw_hairs(seeds, math.ceil(high))
    if "microscope" in params:
        x, y = tf.unstack(stateless_rng.uniform(seeds, 2, stateless_rng.FIELD), axis=1)
        # Up to a twentieth of the side off the middle.
        params |= {"microscope_x": (x - 0.5) / 10, "microscope_y": (y - 0.5) / 10}
    if "dropout" in params:
        count = policy["dropout"].get("count", 1)
        params["dropout_middles"] = tf.reshape(
            stateless_rng.uniform(seeds, 2 * count, stateless_rng.HOLES), [-1, count, 2]
        )
    if "cutmix" in params:
        params["cutmix_middles"] = stateless_rng.uniform(seeds, 2, stateless_rng.BOX)[:, None]
    if "noise" in params:
        params["noise_seeds"] = seeds
    return params
