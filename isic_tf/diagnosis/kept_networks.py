"""The networks of a run's folds by a graph that an earlier start kept: none is built, and nothing traced.

Keras takes two seconds to build a network of 150 layers and to trace it; its graph is read in a tenth of that.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.inference import graph_definitions
from isic_tf.models.pretrained import kept_arrays, weights_files


class KeptNetworks:
    """A graph, and the weights of all folds that it can be given.

    Examples:
        >>> network = tf.keras.Sequential([tf.keras.Input((1,)), tf.keras.layers.Dense(1, use_bias=False)])
        >>> compute = tf.function(lambda x: (network(x),), [tf.TensorSpec([None, 1])], autograph=False)
        >>> weights = [{"layers/dense/vars/0": np.full((1, 1), factor, np.float32)} for factor in (2, 5)]
        >>> networks = KeptNetworks(copy_graph(compute, network, weights[0]), weights)
        >>> networks.choose(1)
        >>> networks.run_batch(tf.constant([[3.0]]))[0].numpy()
        array([[15.]], dtype=float32)
    """

    def __init__(self, content: bytes, weights: Sequence[Mapping[str, np.ndarray]]) -> None:
        """Makes the graph a function.

        Args:
            content: See `copy_graph`.
            weights: Arrays of the folds by their names, see `kept_arrays.read_all`, `[folds]`.
        """
        header, _, graph = content.partition(b"\n")
        names = json.loads(header)
        definition = tf.compat.v1.GraphDef.FromString(graph)
        with tf.device("CPU:0"):
            self._weights = [[tf.constant(arrays[name]) for name in names["weights"].values()] for arrays in weights]
        self.choose(0)

        @tf.function(autograph=False)
        def compute(*tensors: tf.Tensor) -> list[tf.Tensor]:
            mapped = dict(zip([*names["inputs"], *names["weights"]], tensors, strict=True))
            return tf.graph_util.import_graph_def(definition, mapped, names["outputs"], name="")

        inputs = [tf.TensorSpec(shape, dtype) for shape, dtype in names["inputs"].values()]
        own = [tf.TensorSpec(one.shape, one.dtype) for one in self._weights[0]]
        self._compute = compute.get_concrete_function(*inputs, *own)

    def __len__(self) -> int:
        """Returns the number of folds."""
        return len(self._weights)

    def choose(self, fold: int) -> None:
        """Gives the graph the weights of a fold.

        Args:
            fold: Place of the fold, from 0.
        """
        # Where the graph runs, since other devices would fetch them for every batch.
        self._own = [tf.identity(one) for one in self._weights[fold]]

    def run_batch(self, *inputs: tf.Tensor) -> list[tf.Tensor]:
        """Computes what the function computed whose graph was kept."""
        found: list[tf.Tensor] = self._compute(*inputs, *self._own)
        return found


def read_networks(content: bytes, first: Mapping[str, np.ndarray], paths: Sequence[str]) -> KeptNetworks | None:
    """Reads the weights of the folds, and makes the graph a function.

    Args:
        content: See `copy_graph`.
        first: Arrays of the first fold, see `weights_files.read_kept`.
        paths: Weights files of the other folds.

    Returns:
        `KeptNetworks`; None where the arrays of a fold cannot be read, or are others than those of the first.
    """
    weights = [first]
    for path in paths:
        arrays = weights_files.read_kept(path)
        if arrays is None or _describe(arrays) != _describe(first):
            return None
        weights.append(arrays)
    return KeptNetworks(content, weights)


def _describe(arrays: Mapping[str, np.ndarray]) -> dict[str, tuple[Any, ...]]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def copy_graph(function: Callable[..., Any], network: tf.keras.Model, arrays: Mapping[str, np.ndarray]) -> bytes | None:
    """Copies the graph of a function of a network, without the network's weights.

    Args:
        function: `tf.function` of one signature from tensors to a sequence of tensors.
        network: The Keras model whose weights it reads.
        arrays: What a file of these weights holds, see `kept_arrays.read_all`.

    Returns:
        A line of JSON, and the graph; None where the function uses anything else, or the arrays are not known to be
        those of the network.
    """
    concrete: Any = function.get_concrete_function()  # type: ignore[attr-defined]
    places = kept_arrays.find_places(network)
    copied = graph_definitions.copy_with_inputs(concrete, network.weights)
    if places is None or copied is None or not kept_arrays.fits(arrays, places):
        return None
    definition, reads = copied
    left = {node.name for node in definition.node}
    inputs = concrete.inputs[: len(concrete.inputs) - len(concrete.captured_inputs)]
    if not left.issuperset(one.op.name for one in inputs):
        return None
    names = {
        "inputs": {one.name: (one.shape.as_list(), one.dtype.name) for one in inputs},
        "outputs": [one.name for one in concrete.outputs],
        "weights": {f"{name}:0": places[id(one)][0] for name, one in reads.items() if name in left},
    }
    return json.dumps(names).encode() + b"\n" + definition.SerializeToString()
