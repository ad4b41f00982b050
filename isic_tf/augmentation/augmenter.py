"""Applies sampled augmentation parameters to a batch, on the device."""

import tensorflow as tf

from isic_tf.augmentation import color, geometric, mixup, occlusion, policies, random_parameters
from isic_tf.data import decoding
from isic_tf.distribution import tpus


def apply(images, params, fill="reflect", dtype=tf.float32, training=True, wrap=lambda stage: stage):
    """Applies drawn parameters, but for mixup and cutmix; deterministic.

    Args:
        images: uint8 `[b, S, S, 3]`.
        params: See `sample`.
        fill: See `geometric.warp`.
        dtype: float32, or bfloat16 for the pixels; positions are float32 in any case.
        training: Whether to change anything.
        wrap: What to make of each stage's function before it is called.

    Returns:
        `dtype` `[b, S, S, 3]` in [0, 1].
    """
    stages = _stages(params.keys(), fill) if training else []
    if not stages:
        return decoding.to_float(images, dtype)
    first, *others = stages
    images = wrap(lambda images, params: first(decoding.to_float(images, dtype), params))(images, params)
    for stage in others:
        images = wrap(stage)(images, params)
    return images


def _stages(given, fill):
    """Lists the functions that apply what is given: warp, hair, colour, blur, noise, microscope and dropout."""

    def resample(images, params):
        still = tf.constant([[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
        matrices = geometric.matrices(params) if "rotation" in params else still
        return geometric.warp(images, matrices, fill, params.get("lens"), params.get("grid"))

    def occlude_last(images, params):
        if "microscope" in params:
            images = occlusion.vignette(images, *(params[f"microscope{end}"] for end in ("", "_x", "_y")))
        if "dropout" in params:
            images = occlusion.dropout(images, params["dropout"], params["dropout_middles"])
        return images

    stages = [
        ({*random_parameters.GEOMETRY, "lens", "grid"}, resample),
        ({"hair"}, lambda images, params: occlusion.hair(images, params["hair"], params["hairs"])),
        ({*color.KEYS}, color.adjust_color),
        ({"blur"}, lambda images, params: color.blur(images, params["blur"], axis=1)),
        ({"blur"}, lambda images, params: color.blur(images, params["blur"], axis=2)),
        ({"noise"}, lambda images, params: color.add_noise(images, params["noise"], params["noise_seeds"])),
        ({"microscope", "dropout"}, occlude_last),
    ]
    return [stage for names, stage in stages if names & given]


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
    jit = True if tpus.compiles_for_host() else None

    def compiled(function):
        return tf.function(function, jit_compile=jit, autograph=False)

    draw, mixed = compiled(lambda seeds: random_parameters.sample_parameters(seeds, policy)), compiled(mixup.mix)

    @tf.function(autograph=False)
    def augment(images, labels, seeds):
        params = draw(seeds)
        images = apply(images, params, policy.get("fill", "reflect"), dtype, wrap=compiled)
        return mixed(images, labels, params) if policy.keys() & set(policies.MIXES) else (images, labels)

    return augment
