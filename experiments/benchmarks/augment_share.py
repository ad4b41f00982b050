"""What augmentation takes of a training step of EfficientNet-B0 at 256 px, on the same device."""

import time

import common
import numpy as np
import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import decoding
from isic_tf.models import classifiers
from isic_tf.training import losses

BATCH, SIZE = 16, 256

images = tf.constant(np.random.default_rng(0).integers(0, 256, (BATCH, SIZE, SIZE, 3), np.uint8))
labels, seeds = tf.zeros(BATCH), tf.random.stateless_uniform([BATCH, 2], [0, 0], 0, 2**62, tf.int64)
classifier = classifiers.build_classifier("efficientnet-b0", SIZE)
optimizer = tf.keras.optimizers.AdamW(1e-3, weight_decay=0.01, jit_compile=False)
optimizer.build(classifier.trainable_variables)
variables = classifier.trainable_variables
plain, share_of_loss = decoding.to_float(images), losses.make_loss(common.make_config(global_batch_size=BATCH))


@tf.function
def step(batch):
    with tf.GradientTape() as tape:
        loss = share_of_loss(labels[:, None], classifier(batch, training=True))
    optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
    return loss


def best(function, repeats):
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


network = best(lambda: step(plain).numpy(), 3)
for name in ("light", "deotte", "winner", "strong"):
    function = augmenter.make_augment(policies.read_policy(name))
    own = best(lambda function=function: function(images, labels, seeds)[0].numpy(), 8)
    aim = " (aim 5 %)" if name == "deotte" else ""
    print(
        f"policy {name}: {own / BATCH * 1e3:.2f} ms an image, {own / (own + network):.1%} of a step of "
        f"{(own + network) / BATCH * 1e3:.1f} ms{aim}"
    )
