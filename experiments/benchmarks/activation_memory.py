"""Memory per image of a training step of EfficientNet-B0: measured, against the estimate of `--dry_run`.

Fails if the ratio of the two is outside `BOUNDS`.
"""

import json
import resource
import subprocess
import sys

import common

SIZES = (128, 224)
BATCHES = (8, 40)
BOUNDS = (0.8, 1.25)


def run_steps(size: int, batch_size: int) -> None:
    """Runs two steps; prints the peak memory of the process and the estimate per image, both in bytes."""
    import tensorflow as tf

    from isic_tf.training import memory_estimate, train_state, train_step

    config = common.make_config(
        image_size=size, weights="none", global_batch_size=batch_size, augment_strength=0.0, warmup_epochs=0.0
    )
    state = train_state.make_state(tf.distribute.get_strategy(), config, 10)
    step = tf.function(train_step.make_replica_step(state, config))
    images = tf.cast(tf.random.uniform([batch_size, size, size, 3], 0, 256, tf.int32), tf.uint8)
    for _ in range(2):
        step(images, tf.zeros([batch_size, 1]), tf.zeros([batch_size, 2], tf.int64))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps([peak, memory_estimate.count_activations(state.model)]))


def measure(size: int, batch_size: int) -> tuple[int, int]:
    """Runs steps in a process of their own; returns its peak memory and the estimate per image, both in bytes."""
    command = [sys.executable, __file__, str(size), str(batch_size)]
    result = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
    peak, estimate = json.loads(result.stdout.splitlines()[-1])
    return peak, estimate


def main() -> None:
    ratios = []
    for size in SIZES:
        (small_peak, estimate), (large_peak, _) = (measure(size, batch_size) for batch_size in BATCHES)
        # The difference leaves out what does not depend on the batch, such as TensorFlow itself.
        measured = (large_peak - small_peak) / (BATCHES[1] - BATCHES[0])
        ratios.append(estimate / measured)
        print(
            f"activations of B0 at {size} px: {measured / 1e6:.1f} MB per image, estimate {estimate / 1e6:.1f} MB, "
            f"ratio {ratios[-1]:.2f} (aim {BOUNDS[0]} to {BOUNDS[1]})",
            flush=True,
        )
    sys.exit(not all(BOUNDS[0] <= ratio <= BOUNDS[1] for ratio in ratios))


if len(sys.argv) > 1:
    run_steps(*map(int, sys.argv[1:]))
else:
    main()
