"""Samples the parameters of augmentation operations for a batch, on the device.

Every number is computed by integer arithmetic from the seed of the record, so that (seed, epoch, record) fixes it on
CPU, GPU and TPU, whatever the batch size, the replica or the order. All of it compiles under XLA with static shapes.
"""

import math
from collections.abc import Sequence

import numpy as np
import scipy.special
import tensorflow as tf

from isic_tf.augmentation import geometric, occlusion, policies, stateless_rng

# What `geometric.locate` takes; a policy with one of them gets all.
GEOMETRY = ("transpose", "flip_x", "flip_y", "rotate90", "rotation", "shear", "zoom_x", "zoom_y", "shift_x", "shift_y")
# Random numbers per operation: one for its probability, two for its value, and one to spare.
_EACH = 4
# Steps of the table of a Beta distribution.
_QUANTILES = 4096


def sample_parameters(seeds: tf.Tensor, policy: policies.Policy) -> dict[str, tf.Tensor]:
    """Samples the parameters of a batch.

    Args:
        seeds: int64 `[b, 2]`, one per record.
        policy: See `policies`.

    Returns:
        Dict of tensors whose first dimension is b: float32 `[b]` for the operations of the policy, with the value that
        changes nothing where an image does not get one. A policy with any of `GEOMETRY` gets all of them; `zoom` and
        `aspect` are multiplied into `zoom_x` and `zoom_y`. `grid` is float32 `[b, 2, 5]`: the widths of the image's
        cells along x and along y, of which all are 1 in an unchanged image. `hair` has `hairs` (see
        `occlusion.sample_hairs`), `vignette` has `vignette_x` and `vignette_y`, `dropout` and `cutmix` have their
        centers (`[b, n, 2]`, `[b, 1, 2]`), and `noise` has `noise_seeds` (int64 `[b, 2]`).
    """
    numbers = tf.unstack(stateless_rng.uniform(seeds, _EACH * len(policies.OPERATIONS)), axis=1)
    slots = {name: numbers[_EACH * place :][:_EACH] for place, name in enumerate(policies.OPERATIONS)}
    given = [name for name in policies.OPERATIONS if name in policy]
    active = _choose_images(policy, given, slots)
    params = {}
    for name in given:
        value = _sample_value(name, policy[name], *slots[name][1:3])
        params[name] = tf.where(active[name], value, policies.OPERATIONS[name][0])
    return _complete(params, seeds, policy)


def _choose_images(
    policy: policies.Policy, given: Sequence[str], slots: dict[str, list[tf.Tensor]]
) -> dict[str, tf.Tensor]:
    """Returns for each operation which images get it, bool `[b]`."""
    count, picked = policy.get("pick", (0, ()))
    active = {}
    # By label: the number that its operations share, and the probability that is used up.
    shared: dict[str, tuple[tf.Tensor, float]] = {}
    for name in given:
        entry = policy[name]
        number = slots[name][0]
        if name in picked:
            rank = tf.add_n([tf.cast(slots[other][0] < number, tf.int32) for other in picked])
            active[name] = rank < count
            continue
        label = entry.get("together") or entry.get("instead")
        low = 0.0
        # Operations with a common label share the number sampled for the first of them.
        if label:
            number, low = shared.get(label, (number, low))
        high = low + entry.get("p", 1.0)
        active[name] = (low <= number) & (number < high)
        if label:
            shared[label] = (number, high if "instead" in entry else 0.0)
    return active


def _sample_value(name: str, entry: policies.Policy, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    if name == "rotate90":
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


def _complete(params: dict[str, tf.Tensor], seeds: tf.Tensor, policy: policies.Policy) -> dict[str, tf.Tensor]:
    """Adds what belongs to the sampled operations."""
    neutral = tf.zeros_like(seeds[:, 0], tf.float32)
    zoom = params.pop("zoom", neutral + 1)
    aspect = params.pop("aspect", neutral + 1)
    if policy.keys() & {*GEOMETRY, "zoom", "aspect", "lens", "grid"}:
        for name in GEOMETRY:
            params.setdefault(name, neutral + policies.OPERATIONS[name][0])
        params["zoom_x"] *= zoom * tf.sqrt(aspect)
        params["zoom_y"] *= zoom / tf.sqrt(aspect)
    if "grid" in params:
        cells = stateless_rng.uniform(seeds, 2 * geometric.CELLS, stateless_rng.CELLS)
        params["grid"] = 1 + params["grid"][:, None, None] * (2 * tf.reshape(cells, [-1, 2, geometric.CELLS]) - 1)
    if "hair" in params:
        high = policy["hair"].get("uniform", [0, policies.MAX_HAIRS])[1]
        params["hairs"] = occlusion.sample_hairs(seeds, math.ceil(high))
    if "vignette" in params:
        x, y = tf.unstack(stateless_rng.uniform(seeds, 2, stateless_rng.FIELD), axis=1)
        # Up to a twentieth of the side off center.
        params["vignette_x"] = (x - 0.5) / 10
        params["vignette_y"] = (y - 0.5) / 10
    if "dropout" in params:
        count = policy["dropout"].get("count", 1)
        centers = stateless_rng.uniform(seeds, 2 * count, stateless_rng.HOLES)
        params["dropout_centers"] = tf.reshape(centers, [-1, count, 2])
    if "cutmix" in params:
        params["cutmix_centers"] = stateless_rng.uniform(seeds, 2, stateless_rng.BOX)[:, None]
    if "noise" in params:
        params["noise_seeds"] = seeds
    return params
