"""The share of augmentation in a training step of EfficientNet-B0 at 256 px, on the same device."""

from collections.abc import Callable

import common
import numpy as np
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import decoding
from isic_tf.models import classifiers
from isic_tf.training import losses

BATCH = 16
SIZE = 256

images = tf.constant(np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8))
labels = tf.zeros(BATCH)
seeds = tf.random.stateless_uniform([BATCH, 2], [0, 0], 0, 2**62, tf.int64)
classifier = classifiers.build_classifier("efficientnet-b0", SIZE)
optimizer = tf.keras.optimizers.AdamW(1e-3, weight_decay=0.01, jit_compile=False)
optimizer.build(classifier.trainable_variables)
variables = classifier.trainable_variables
float_images = decoding.to_float(images)
loss_of_share = losses.make_loss(common.make_config(global_batch_size=BATCH))


@tf.function
def step(batch: tf.Tensor) -> tf.Tensor:
    with tf.GradientTape() as tape:
        loss = loss_of_share(labels[:, None], classifier(batch, training=True))
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss


def best_seconds(function: Callable[[], object], repeats: int) -> float:
    """Returns the best time of several calls, after one that is not timed."""
    function()
    return min(common.measure_seconds(function) for _ in range(repeats))


network = best_seconds(lambda: step(float_images).numpy(), 3)
for name in ("light", "deotte", "winner", "strong"):
    augment = augmenter.make_augment(policies.read_policy(name))
    augmentation = best_seconds(lambda augment=augment: augment(images, labels, seeds)[0].numpy(), 8)
    total = augmentation + network
    aim = " (aim 5 %)" if name == "deotte" else ""
    print(
        f"policy {name}: {augmentation / BATCH * 1e3:.2f} ms per image, {augmentation / total:.1%} of a step of "
        f"{total / BATCH * 1e3:.1f} ms per image{aim}"
    )
