"""Merges batch normalization into the convolutions before it, so that a CPU reads and writes each map once less.

A normalization with fixed statistics scales and shifts each channel, as a convolution with another kernel and a bias
does (Jacob et al., CVPR 2018, section 3.2). Kernels are merged for each batch, from the network's variables, which may
change; with a bias instead of a normalization, oneDNN also computes the activation in the same pass.
"""

from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from isic_tf.inference import graph_definitions

_CONVOLUTIONS = ("Conv2D", "DepthwiseConv2dNative")
_NORMALIZATION = "FusedBatchNormV3"


def merge(network: tf.keras.Model) -> Callable[..., Any]:
    """Makes the function that computes a network at inference with merged normalizations.

    Args:
        network: Keras model. Normalizations that follow no convolution of their own, or are not float32, stay.

    Returns:
        Function from the inputs of the network to its outputs, as `network(inputs, training=False)`, to be called
        while a `tf.function` is traced; the network itself where it uses anything besides its variables.

    Examples:
        >>> image = tf.keras.Input((4, 4, 1))
        >>> convolved = tf.keras.layers.Conv2D(2, 3, use_bias=False)(image)
        >>> network = tf.keras.Model(image, tf.keras.layers.BatchNormalization()(convolved))
        >>> tf.function(merge(network))(tf.ones([1, 4, 4, 1])).shape
        TensorShape([1, 2, 2, 2])
    """
    specs = [tf.TensorSpec(one.shape, one.dtype) for one in network.inputs]

    @tf.function(input_signature=specs, autograph=False)
    def compute(*inputs: tf.Tensor) -> Any:
        return network(list(inputs) if len(inputs) > 1 else inputs[0], training=False)

    concrete = compute.get_concrete_function()
    copied = graph_definitions.copy_with_inputs(concrete, network.variables)
    if copied is None:
        return network
    definition, reads = copied
    names = [tensor.op.name for tensor in concrete.inputs[: len(specs)]]
    outputs = [tensor.name for tensor in concrete.outputs]
    merged = dict(_merge_nodes(definition, set(reads)))
    left = graph_definitions.drop_unused(definition, outputs)

    def call(inputs: Any, training: bool = False) -> Any:
        del training
        # In the body of a loop, inputs from around it are captured by an operation only.
        values = dict(zip(names, map(tf.identity, tf.nest.flatten(inputs)), strict=True))
        values.update({name: tf.convert_to_tensor(variable) for name, variable in reads.items()})
        for convolution, (kernel, parameters, epsilon) in merged.items():
            gamma, beta, mean, variance = (values[name] for name in parameters)
            scale = gamma * tf.math.rsqrt(variance + epsilon)
            shape = values[kernel].shape
            # A depthwise kernel has the channels of its output on two axes.
            by_output = scale if convolution[1] == "Conv2D" else tf.reshape(scale, shape[2:])
            values[f"{convolution[0]}/kernel"] = values[kernel] * by_output
            values[f"{convolution[0]}/bias"] = beta - mean * scale
        mapped = {f"{name}:0": value for name, value in values.items() if name in left}
        found = tf.graph_util.import_graph_def(definition, mapped, outputs, name="merged")
        return tf.nest.pack_sequence_as(concrete.structured_outputs, found)

    return call


def _merge_nodes(definition: Any, reads: set[str]) -> Iterator[tuple[tuple[str, str], tuple[str, list[str], float]]]:
    """Replaces normalizations by biases; yields for each convolution what its kernel and bias are made of."""
    nodes = {node.name: node for node in definition.node}
    used: dict[str, int] = {}
    for node in definition.node:
        for name in node.input:
            used[graph_definitions.owner(name)] = used.get(graph_definitions.owner(name), 0) + 1
    for node in list(definition.node):
        if node.op != _NORMALIZATION or node.attr["T"].type != tf.float32.as_datatype_enum:
            continue
        if node.attr["is_training"].b:
            continue
        before = nodes[graph_definitions.owner(node.input[0])]
        parameters = [_resolve(nodes, name) for name in node.input[1:5]]
        kernel = _resolve(nodes, before.input[1]) if before.op in _CONVOLUTIONS else ""
        if used[before.name] > 1 or not reads.issuperset([kernel, *parameters]):
            continue
        epsilon = node.attr["epsilon"].f
        for part in ("kernel", "bias"):
            graph_definitions.make_input(definition.node.add(name=f"{before.name}/{part}"), tf.float32)
        before.input[1] = f"{before.name}/kernel"
        data_format = node.attr["data_format"].s
        node.op = "BiasAdd"
        del node.input[:]
        node.input.extend([before.name, f"{before.name}/bias"])
        node.attr.clear()
        node.attr["T"].type = tf.float32.as_datatype_enum
        node.attr["data_format"].s = data_format
        yield (before.name, before.op), (kernel, parameters, epsilon)


def _resolve(nodes: dict[str, Any], name: str) -> str:
    """Returns the node that a value comes from, through nodes that only pass it on."""
    node = nodes[graph_definitions.owner(name)]
    return _resolve(nodes, node.input[0]) if node.op == "Identity" else str(node.name)
