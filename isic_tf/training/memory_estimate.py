"""Estimates the memory that a training step needs on each device, before it runs."""

import bisect
import dataclasses
import math
from collections.abc import Iterable, Sequence

import tensorflow as tf

from isic_tf.models import classifiers, layer_decay, network_layers

# A TPU stores an array in tiles of this many rows and columns, and pads a batch to a multiple of the rows.
TPU_ROWS = 8
_TPU_COLUMNS = 128
# Layers whose outputs a TPU keeps for the gradients; the operations between them are fused and computed again.
_KEPT_LAYERS = (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D, tf.keras.layers.Add)
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
        activation_bytes: Bytes of the activations of these images, on a CPU or GPU.
        tpu_activation_bytes: Bytes of the activations of these images, on a TPU.
        most_images: Largest number of images at a time that would fit a TPU core of 16 GB, a multiple of 8.
        advice: Whether TPUs would pad the batch, and what avoids that.
    """

    replicas: int
    images: int
    state_bytes: int
    activation_bytes: int
    tpu_activation_bytes: int
    most_images: int
    advice: str

    @property
    def device_bytes(self) -> int:
        """Bytes that a step needs on a CPU or GPU."""
        return self.state_bytes + self.activation_bytes

    @property
    def tpu_bytes(self) -> int:
        """Bytes that a step needs on a TPU."""
        return self.state_bytes + self.tpu_activation_bytes

    def describe(self) -> str:
        """Formats the estimate as one line."""
        return (
            f"each of {self.replicas} device(s) processes {self.images} images at a time ({self.advice}) and needs "
            f"about {self.device_bytes / 1e9:.2f} GB: {self.state_bytes / 1e9:.2f} for weights and optimizer, "
            f"{self.activation_bytes / 1e9:.2f} for activations; on a TPU about {self.tpu_bytes / 1e9:.2f} GB, and up "
            f"to {self.most_images} images at a time would fit a TPU core of {_TPU_CORE / 1e9:.0f} GB"
        )


def describe_probe(state: tf.train.Checkpoint, images: int, replicas: int) -> tuple[int, str]:
    """Estimates the memory of computing the features of a linear probe, which keeps nothing for gradients.

    Args:
        state: See `train_state.make_state`.
        images: Images that a device processes at a time.
        replicas: Number of devices.

    Returns:
        Bytes on each device, and the estimate as one line.
    """
    weights = count_checkpoint(state)
    activations = images * 2 * max(_list_output_bytes(state.model))
    text = (
        f"each of {replicas} device(s) computes the features of {images} images at a time and needs about "
        f"{(weights + activations) / 1e9:.2f} GB: {weights / 1e9:.2f} for weights, {activations / 1e9:.2f} for "
        "activations"
    )
    return weights + activations, text


def count_activations(classifier: tf.keras.Model) -> int:
    """Counts the bytes that a step on a CPU or GPU keeps of each image until its gradients are computed.

    That is the output of every layer, and the gradients on either side of the largest one. This is an estimate; the
    measured need of a CPU is 1.2 times as much (`experiments/benchmarks/activation_memory.py`).

    Args:
        classifier: Keras model.

    Returns:
        Bytes per image.
    """
    sizes = _list_output_bytes(classifier)
    return sum(sizes) + 2 * max(sizes)


def _list_output_bytes(classifier: tf.keras.Model) -> list[int]:
    """Lists the bytes of each layer's outputs for one image."""
    outputs = [
        output for layer in network_layers.list_layers(classifier) for output in tf.nest.flatten(layer.get_output_at(0))
    ]
    return [math.prod(output.shape[1:]) * output.dtype.size for output in outputs]


def count_tpu_activations(classifier: tf.keras.Model, images: int) -> int:
    """Counts the bytes that a step on a TPU keeps of a micro-batch until its gradients are computed.

    The TPU's compiler fuses normalization, activation functions, scaling and dropout with the convolutions, and
    computes them again for the gradients. What it keeps is the input of the network, the output of every convolution
    and that of every addition, padded to whole tiles. Where this exceeds the memory of a core, the compiler computes
    more of it again, at the cost of time. Compared with the compiler in docs/compatibility.md.

    Args:
        classifier: Keras model.
        images: Images of a micro-batch.

    Returns:
        Bytes of the micro-batch.
    """
    return _count_padded(_list_kept_arrays(classifier), images)


def _list_kept_arrays(classifier: tf.keras.Model) -> list[tuple[tuple[int, ...], int]]:
    """Lists the shape, without images, and the bytes of a number, of the arrays that a TPU keeps."""
    layers = [layer for layer in network_layers.list_layers(classifier) if isinstance(layer, _KEPT_LAYERS)]
    outputs = [layer.get_output_at(0) for layer in layers]
    kept = [(tuple(output.shape[1:]), output.dtype.size) for output in outputs]
    first = layers[0]
    return [(tuple(first.get_input_at(0).shape[1:]), tf.as_dtype(first.compute_dtype).size), *kept]


def _count_padded(arrays: Sequence[tuple[tuple[int, ...], int]], images: int) -> int:
    """Counts the bytes of arrays, see `_list_kept_arrays`, of a number of images."""
    return sum(_pad_array(shape, images) * size for shape, size in arrays)


def _pad_array(shape: tuple[int, ...], images: int) -> int:
    """Counts the numbers of an array with those that a TPU pads it with.

    Tiles lie in the plane of images and channels. The compiler makes that one the columns which pads less.
    """
    *positions, channels = shape
    by_channels = _pad_rows(images) * _round_up(channels, _TPU_COLUMNS)
    by_images = _pad_rows(channels) * _round_up(images, _TPU_COLUMNS)
    return math.prod(positions) * min(by_channels, by_images)


def _pad_rows(count: int) -> int:
    # The tiles of fewer rows are lower.
    return min(_round_up(count, TPU_ROWS), 1 << (count - 1).bit_length())


def _round_up(count: int, step: int) -> int:
    return -(-count // step) * step


def _find_most_images(classifier: tf.keras.Model, available: float) -> int:
    """Returns the largest number of images, a multiple of 8, whose activations fit the available bytes of a TPU."""
    arrays = _list_kept_arrays(classifier)
    # Without padding more would fit.
    limit = int(max(available, 0) // sum(math.prod(shape) * size for shape, size in arrays))
    candidates = range(TPU_ROWS, limit + 1, TPU_ROWS)
    return bisect.bisect_right(candidates, available, key=lambda images: _count_padded(arrays, images)) * TPU_ROWS


def count_state(state: tf.train.Checkpoint, decay: float = 1.0) -> int:
    """Counts the bytes of the weights, their gradients, the variables of the optimizers and the averages.

    Args:
        state: See `train_state.make_state`.
        decay: Layer-wise decay of the learning rate. A step keeps a copy of each weight that it slows down.

    Returns:
        Bytes per device.
    """
    trained = state.model.trainable_weights
    factors = layer_decay.find_factors(classifiers.backbone_of(state.model), decay) if decay < 1 else {}
    copied = [weight for weight in trained if factors.get(weight.ref(), 1) < 1]
    return count_checkpoint(state) + _count_bytes(trained) + _count_bytes(copied)


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


def estimate_memory(
    state: tf.train.Checkpoint, batch_size: int, replicas: int, micro_batches: int, decay: float = 1.0
) -> MemoryEstimate:
    """Estimates the memory of a training step on each device, and which batch would fill a TPU.

    Args:
        state: See `train_state.make_state`.
        batch_size: Images in a step, over all replicas.
        replicas: Number of devices.
        micro_batches: Micro-batches into which each device splits its share, see `--gradient_accumulation_steps`.
        decay: See `count_state`.

    Returns:
        `MemoryEstimate`.
    """
    share = batch_size // replicas
    images = share // micro_batches
    state_bytes = count_state(state, decay)
    tpu_activation_bytes = count_tpu_activations(state.model, images)
    if micro_batches > 1:
        # The augmented images of all micro-batches, in float32.
        tpu_activation_bytes += share * math.prod(state.model.inputs[0].shape[1:]) * tf.float32.size
    most_images = _find_most_images(state.model, _TPU_FRACTION * _TPU_CORE - state_bytes)
    return MemoryEstimate(
        replicas=replicas,
        images=images,
        state_bytes=state_bytes,
        activation_bytes=images * count_activations(state.model),
        tpu_activation_bytes=tpu_activation_bytes,
        most_images=most_images,
        advice=_advise(batch_size, replicas, micro_batches, most_images),
    )


def _advise(batch_size: int, replicas: int, micro_batches: int, most_images: int) -> str:
    """Returns whether a micro-batch is a multiple of what TPUs pad to, and if not, the option that makes it one."""
    share = batch_size // replicas
    images = share // micro_batches
    if images % TPU_ROWS == 0:
        return f"a multiple of {TPU_ROWS}, as TPUs require"
    # As few micro-batches as fit: the images of one share their batch statistics.
    fitting = [
        count for count in range(1, micro_batches) if share % (count * TPU_ROWS) == 0 and share // count <= most_images
    ]
    if fitting:
        remedy = f"--gradient_accumulation_steps={fitting[0]}"
    else:
        remedy = f"--global_batch_size={_round_up(images, TPU_ROWS) * replicas * micro_batches}"
    return f"not a multiple of {TPU_ROWS}, to which TPUs pad; use {remedy}"
