"""Applies sampled augmentation parameters to a batch, on the device.

Mixup and CutMix also depend on the neighbor in the batch; everything else depends on the record's own seed only. All of
it compiles under XLA with static shapes.
"""

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

import tensorflow as tf

from isic_tf.augmentation import color, geometric, mixup, occlusion, policies, random_parameters, resampling
from isic_tf.data import decoding
from isic_tf.distribution import tpus

Params = dict[str, tf.Tensor]
Stage = Callable[[tf.Tensor, Params], Any]


def _unchanged(stage: Stage) -> Stage:
    return stage


def apply(
    images: tf.Tensor,
    params: Params,
    policy: policies.Policy,
    dtype: tf.DType = tf.float32,
    on_tpu: bool = False,
    wrap: Callable[[Stage], Stage] = _unchanged,
) -> tf.Tensor:
    """Applies sampled parameters, except mixup and CutMix; deterministic.

    Args:
        images: uint8 `[b, S, S, 3]`.
        params: See `random_parameters.sample_parameters`.
        policy: The policy that they are sampled from.
        dtype: float32, or bfloat16 for the colors; geometry is in whole numbers in any case.
        on_tpu: See `resampling`.
        wrap: Applied to the function of each stage before it is called.

    Returns:
        `dtype` `[b, S, S, 3]` in [0, 1].
    """
    size = images.shape[1]
    if "zoom_x" in params:
        params = params | wrap(lambda images, params: geometric.locate(params, policy, size))(images, params)
    stages = _list_stages(params.keys(), policy, size, dtype, on_tpu)
    for stage in stages:
        images = wrap(stage)(images, params)
    return images if stages else decoding.to_float(images, dtype)


def _list_stages(
    given: Iterable[str], policy: policies.Policy, size: int, dtype: tf.DType, on_tpu: bool
) -> list[Stage]:
    """Lists the functions that apply what is given: geometry, hair, color, blur, noise, vignette and dropout."""

    def occlude_last(images: tf.Tensor, params: Params) -> tf.Tensor:
        if "vignette" in params:
            images = occlusion.vignette(images, params["vignette"], params["vignette_x"], params["vignette_y"])
        if "dropout" in params:
            images = occlusion.dropout(images, params["dropout"], params["dropout_centers"])
        return images

    def to_float(words: tf.Tensor, params: Params) -> tf.Tensor:
        return decoding.to_float(resampling.unpack(words), dtype)

    others: list[tuple[set[str], Stage]] = [
        ({"hair"}, lambda images, params: occlusion.hair(images, params["hair"], params["hairs"])),
        ({*color.KEYS}, color.adjust_color),
        ({"blur"}, lambda images, params: color.blur(images, params["blur"], 1, on_tpu)),
        ({"blur"}, lambda images, params: color.blur(images, params["blur"], 2, on_tpu)),
        ({"noise"}, lambda images, params: color.add_noise(images, params["noise"], params["noise_seeds"])),
        ({"vignette", "dropout"}, occlude_last),
    ]
    stages = [stage for names, stage in others if names & set(given)]
    if "zoom_x" in given:
        return [*geometric.list_stages(policy, size, on_tpu), to_float, *stages]
    if stages:
        first, *stages = stages
        return [lambda images, params: first(decoding.to_float(images, dtype), params), *stages]
    return []


def augment_few(
    images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor, policy: policies.Policy
) -> tuple[tf.Tensor, tf.Tensor]:
    """Augments a few images once, as `make_augment` does, without a graph: making one would take longer.

    Args:
        images: uint8 `[b, S, S, 3]`.
        labels: float32 `[b]`.
        seeds: int64 `[b, 2]`, see `record_seeds.record_seed`.
        policy: See `policies.read_policy`.

    Returns:
        float32 `[b, S, S, 3]` in [0, 1], and labels `[b]`.

    Examples:
        >>> images = tf.zeros([2, 8, 8, 3], tf.uint8)
        >>> augmented, labels = augment_few(images, tf.constant([0.0, 1.0]), tf.zeros([2, 2], tf.int64), {})
        >>> augmented.shape, labels.numpy().tolist()
        (TensorShape([2, 8, 8, 3]), [0.0, 1.0])
    """
    params = random_parameters.sample_parameters(seeds, policy)
    return mixup.mix(apply(images, params, policy), labels, params)


def make_augment(
    policy: policies.Policy, dtype: tf.DType = tf.float32, on_tpu: bool | None = None
) -> Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Creates the augmentation function of a training step.

    Args:
        policy: See `policies.read_policy`.
        dtype: See `apply`.
        on_tpu: See `resampling`; None for whether the strategy that runs the function has a TPU.

    Returns:
        Function from uint8 `[b, S, S, 3]`, float32 `[b]` or `[b, c]` labels and int64 `[b, 2]` seeds to `dtype`
        `[b, S, S, 3]` in [0, 1] and labels of the same shape.

    Examples:
        >>> augment = make_augment({"flip_x": {"p": 1.0}})
        >>> images = tf.constant([[[[0, 0, 0], [255, 255, 255]], [[0, 0, 0], [255, 255, 255]]]], tf.uint8)
        >>> flipped, _ = augment(images, tf.constant([1.0]), tf.constant([[1, 2]], tf.int64))
        >>> flipped[0, :, :, 0].numpy().tolist()
        [[1.0, 0.0], [1.0, 0.0]]
    """
    text = json.dumps(policy)

    def augment(images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        targets_tpu = tpus.is_target() if on_tpu is None else on_tpu
        return _compile(text, dtype, targets_tpu, tpus.compiles_for_host())(images, labels, seeds)

    return augment


# Kept: steps of other folds, of thawed backbones and of test-time augmentation need no other program.
@functools.lru_cache(maxsize=8)
def _compile(text: str, dtype: tf.DType, on_tpu: bool, for_host: bool) -> Callable[..., Any]:
    """Creates the augmentation function of a policy in JSON, see `make_augment`."""
    policy = json.loads(text)
    # Compiled, a stage takes a quarter of the time. Each is compiled by itself: in one program XLA would compute what
    # is blurred or resampled again for each pixel that it is blended into. On a TPU everything is compiled in any case.
    jit = True if for_host else None

    def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
        return tf.function(function, jit_compile=jit, autograph=False)

    sample = compiled(lambda seeds: random_parameters.sample_parameters(seeds, policy))
    mix = compiled(mixup.mix)
    mixes = bool(policy.keys() & set(policies.MIXES))

    @tf.function(autograph=False)
    def augment(images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        params = sample(seeds)
        images = apply(images, params, policy, dtype, on_tpu, compiled)
        return mix(images, labels, params) if mixes else (images, labels)

    return augment
