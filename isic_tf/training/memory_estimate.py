"""Estimates the memory that a training step needs on each device, before it runs."""

import dataclasses
import math
from collections.abc import Iterable, Iterator

import tensorflow as tf

# A TPU pads a batch to a multiple of this number of images.
_TPU_ROWS = 8
# Memory of a core of a TPU v3 or v5e in bytes, and the fraction of it that a step may use.
_TPU_CORE = 16e9
_TPU_FRACTION = 0.9


@dataclasses.dataclass(frozen=True)
class MemoryEstimate:
    """The memory that a training step needs on each device.

    Args:
        replicas: Number of devices.
        images: Images that a device processes at a time (a micro-batch).
        state_bytes: Bytes of weights, gradients, optimizer and averages.
        activation_bytes: Bytes of the activations of these images.
        most_images: Largest number of images at a time that would fit a TPU core of 16 GB, a multiple of 8.
        advice: Whether TPUs would pad the batch, and what avoids that.
    """

    replicas: int
    images: int
    state_bytes: int
    activation_bytes: int
    most_images: int
    advice: str

    def describe(self) -> str:
        """Formats the estimate as one line."""
        total = self.state_bytes + self.activation_bytes
        return (
            f"each of {self.replicas} device(s) processes {self.images} images at a time ({self.advice}) and needs "
            f"about {total / 1e9:.2f} GB: {self.state_bytes / 1e9:.2f} for weights and optimizer, "
            f"{self.activation_bytes / 1e9:.2f} for activations; up to {self.most_images} images at a time would fit "
            f"a TPU core of {_TPU_CORE / 1e9:.0f} GB"
        )


def count_activations(classifier: tf.keras.Model) -> int:
    """Counts the bytes that a step keeps of each image until its gradients are computed.

    That is the output of every layer, and the gradients on either side of the largest one. Compilers keep less where
    they fuse operations and take more where they pad, so this is an estimate; the measured need of a CPU is 1.1 times
    as much (`experiments/benchmarks/activation_memory.py`).

    Args:
        classifier: Keras model.

    Returns:
        Bytes per image.
    """
    outputs = [output for layer in _list_layers(classifier) for output in tf.nest.flatten(layer.get_output_at(0))]
    sizes = [math.prod(output.shape[1:]) * output.dtype.size for output in outputs]
    return sum(sizes) + 2 * max(sizes)


def _list_layers(network: tf.keras.Model) -> Iterator[tf.keras.layers.Layer]:
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _list_layers(layer)
        else:
            yield layer


def count_state(state: tf.train.Checkpoint) -> int:
    """Counts the bytes of the weights, their gradients, the variables of the optimizers and the averages.

    Args:
        state: See `train_state.make_state`.

    Returns:
        Bytes per device.
    """
    return count_checkpoint(state) + _count_bytes(state.model.trainable_weights)


def count_checkpoint(state: tf.train.Checkpoint) -> int:
    """Counts the bytes of a checkpoint: the weights, the variables of the optimizers and the averages.

    Args:
        state: See `train_state.make_state`.

    Returns:
        Bytes.
    """
    slots = []
    for optimizer in (state.optimizer, *state.others):
        # A method of the optimizers of tensorflow-addons, a list of the others.
        variables = optimizer.variables
        slots += variables() if callable(variables) else variables
    return _count_bytes([*state.model.weights, *state.averages, *slots])


def describe_files(state: tf.train.Checkpoint) -> str:
    """Describes how much room the files of a fold take.

    Args:
        state: See `train_state.make_state`.

    Returns:
        Text such as "33 MB for each of up to 3 checkpoints and 16 MB for each of up to 2 copies of the weights".
    """
    checkpoint = count_checkpoint(state) / 1e6
    weights = _count_bytes(state.model.weights) / 1e6
    return (
        f"{checkpoint:.1f} MB for each of up to 3 checkpoints and {weights:.1f} MB for each of up to 2 copies of the "
        "weights"
    )


def _count_bytes(variables: Iterable[tf.Variable]) -> int:
    return sum(math.prod(part.shape) * part.dtype.size for part in variables)


def estimate_memory(state: tf.train.Checkpoint, batch_size: int, replicas: int, micro_batches: int) -> MemoryEstimate:
    """Estimates the memory of a training step on each device, and which batch would fill a TPU.

    Args:
        state: See `train_state.make_state`.
        batch_size: Images in a step, over all replicas.
        replicas: Number of devices.
        micro_batches: Micro-batches into which each device splits its share, see `--gradient_accumulation_steps`.

    Returns:
        `MemoryEstimate`.
    """
    images = batch_size // replicas // micro_batches
    state_bytes = count_state(state)
    bytes_per_image = count_activations(state.model)
    most_images = max(0, int((_TPU_FRACTION * _TPU_CORE - state_bytes) / bytes_per_image) // _TPU_ROWS * _TPU_ROWS)
    return MemoryEstimate(
        replicas=replicas,
        images=images,
        state_bytes=state_bytes,
        activation_bytes=images * bytes_per_image,
        most_images=most_images,
        advice=_advise(batch_size, replicas, micro_batches, most_images),
    )


def _advise(batch_size: int, replicas: int, micro_batches: int, most_images: int) -> str:
    """Returns whether a micro-batch is a multiple of what TPUs pad to, and if not, the option that makes it one."""
    share = batch_size // replicas
    images = share // micro_batches
    if images % _TPU_ROWS == 0:
        return f"a multiple of {_TPU_ROWS}, as TPUs require"
    # As few micro-batches as fit: the images of one share their batch statistics.
    fitting = [
        count for count in range(1, micro_batches) if share % (count * _TPU_ROWS) == 0 and share // count <= most_images
    ]
    if fitting:
        remedy = f"--gradient_accumulation_steps={fitting[0]}"
    else:
        padded = -(-images // _TPU_ROWS) * _TPU_ROWS
        remedy = f"--global_batch_size={padded * replicas * micro_batches}"
    return f"not a multiple of {_TPU_ROWS}, to which TPUs pad; use {remedy}"
