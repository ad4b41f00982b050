"""The memory that a training step needs on each device, reckoned before it runs."""

import math

import tensorflow as tf

# A TPU pads a batch to so many rows.
_ROWS = 8
# Memory of a core of a TPU v3 or v5e, and the share of it that a step may have.
_CORE, _SHARE = 16e9, 0.9


def count_activations(classifier):
    """Counts what a step keeps of each image until its gradients are there: the output of every layer.

    And the gradients on either side of the largest layer. What compilers fuse is not kept and what they pad takes more,
    so that this is an estimate; a CPU's measured need is 1.1 times it (`experiments/benchmarks/activation_memory.py`).

    Args:
        classifier: Keras model.

    Returns:
        Bytes an image.
    """
    outputs = [output for layer in _layers(classifier) for output in tf.nest.flatten(layer.get_output_at(0))]
    sizes = [math.prod(output.shape[1:]) * output.dtype.size for output in outputs]
    return sum(sizes) + 2 * max(sizes)


def _layers(network):
    for layer in network.layers:
        if isinstance(layer, tf.keras.Model):
            yield from _layers(layer)
        else:
            yield layer


def count_state(state):
    """Counts the bytes of weights, gradients, the optimizer's means and the averages.

    Args:
        state: See `train_state.make_state`.
    """
    # A method of the optimizers of tensorflow-addons.
    owned = [one.variables for one in (state.optimizer, *state.others)]
    slots = [slot for one in owned for slot in (one() if callable(one) else one)]
    kept = [*state.model.weights, *state.averages, *slots]
    gradients = state.model.trainable_weights
    return sum(math.prod(part.shape) * part.dtype.size for part in [*kept, *gradients])


def describe_memory(state, batch_size, replicas, parts):
    """Says in a line what a step needs on each device, and what batch would fill a TPU.

    Args:
        state: See `train_state.make_state`.
        batch_size: Images of all replicas together.
        replicas: Number of devices.
        parts: Parts in which each device takes its share.
    """
    count, kept, each = batch_size // replicas // parts, count_state(state), count_activations(state.model)
    most = max(0, int((_SHARE * _CORE - kept) / each) // _ROWS * _ROWS)
    share, fitting = batch_size // replicas, -(-count // _ROWS) * _ROWS
    # As few parts as fit: a part's images share their batch statistics, and fewer rows than a multiple are padding.
    fewer = [n for n in range(1, parts) if share % (n * _ROWS) == 0 and share // n <= most]
    remedy = (
        f"--gradient_accumulation_steps={fewer[0]}" if fewer else f"--global_batch_size={fitting * replicas * parts}"
    )
    advice = f"no multiple of {_ROWS}, as TPUs want: {remedy} would be"
    if count == fitting:
        advice = f"a multiple of {_ROWS}, as TPUs want"
    return (
        f"each of {replicas} device(s) takes {count} images at a time ({advice}) and needs about "
        f"{(kept + count * each) / 1e9:.2f} GB: {kept / 1e9:.2f} of weights and optimizer, {count * each / 1e9:.2f} of "
        f"activations; {most} at a time would fit a TPU core of {_CORE / 1e9:.0f} GB"
    )
