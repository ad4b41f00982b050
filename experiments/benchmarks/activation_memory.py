"""Memory that a training step of EfficientNet-B0 takes for each image, against what `--dry_run` reckons.

Fails where the two are not within `BOUNDS` of each other.
"""

import json
import resource
import subprocess
import sys

import common

SIZES, BATCHES = (128, 224), (8, 40)
BOUNDS = (0.8, 1.25)


def step(size, batch_size):
    """Takes two steps; prints the process's peak and what an image is reckoned to take, in bytes."""
    import tensorflow as tf

    from isic_tf.training import memory_estimate, train_state, train_step

    config = common.make_config(
        image_size=size, weights="none", global_batch_size=batch_size, augment_strength=0.0, warmup_epochs=0.0
    )
    state = train_state.make_state(tf.distribute.get_strategy(), config, 10)
    take = tf.function(train_step.make_replica_step(state, config))
    images = tf.cast(tf.random.uniform([batch_size, size, size, 3], 0, 256, tf.int32), tf.uint8)
    for _ in range(2):
        take(images, tf.zeros([batch_size, 1]), tf.zeros([batch_size, 2], tf.int64))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([peak, memory_estimate.count_activations(state.model)]))


if len(sys.argv) > 1:
    step(*map(int, sys.argv[1:]))
else:
    ratios = []
    for size in SIZES:
        found = []
        for batch_size in BATCHES:
            command = [sys.executable, __file__, str(size), str(batch_size)]
            result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
            found.append(json.loads(result.stdout.splitlines()[-1]))
        # What does not depend on the batch, as TensorFlow itself, is in both.
        measured, reckoned = (found[1][0] - found[0][0]) / (BATCHES[1] - BATCHES[0]), found[0][1]
        ratios.append(reckoned / measured)
        print(
            f"activations of B0 at {size} px: {measured / 1e6:.1f} MB an image, reckoned {reckoned / 1e6:.1f} MB, "
            f"{ratios[-1]:.2f} of it (aim {BOUNDS[0]} to {BOUNDS[1]})",
            flush=True,
        )
    sys.exit(not all(BOUNDS[0] <= ratio <= BOUNDS[1] for ratio in ratios))
