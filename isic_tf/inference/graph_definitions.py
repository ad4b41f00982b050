"""Copies of traced graphs that receive what they compute with as inputs, in place of variables."""

from collections.abc import Iterable
from typing import Any

import tensorflow as tf


def copy_with_inputs(
    concrete: Any, variables: Iterable[tf.Variable]
) -> tuple[tf.compat.v1.GraphDef, dict[str, tf.Variable]] | None:
    """Copies the graph of a traced function, with an input in place of each read of a variable.

    Args:
        concrete: `tf.types.experimental.ConcreteFunction` that changes no variable.
        variables: The variables that it may read.

    Returns:
        The graph, with only the nodes that its outputs need, and the variable that each new input stands for, by the
        name of its node; None where the function uses anything besides its inputs and these variables.

    Examples:
        >>> factor = tf.Variable(2.0)
        >>> double = tf.function(lambda x: factor * x).get_concrete_function(tf.TensorSpec([], tf.float32))
        >>> definition, reads = copy_with_inputs(double, [factor])
        >>> [variable is factor for variable in reads.values()]
        [True]
    """
    handles = {id(variable.handle): variable for variable in variables}
    of_place = {inner.op.name: handles.get(id(outer)) for outer, inner in concrete.graph.captures}
    definition = concrete.graph.as_graph_def()
    reads = {}
    for node in definition.node:
        # Only reads are in order, which at inference need none.
        data = [name for name in node.input if not name.startswith("^")]
        del node.input[:]
        node.input.extend(data)
        if node.op == "ReadVariableOp":
            variable = of_place.get(node.input[0])
            if variable is None:
                return None
            make_input(node, variable.dtype)
            reads[node.name] = variable
    left = drop_unused(definition, [tensor.name for tensor in concrete.outputs])
    # What is captured and still there is no variable, or is read by a function within.
    return None if left & of_place.keys() else (definition, reads)


def drop_unused(definition: tf.compat.v1.GraphDef, outputs: Iterable[str]) -> set[str]:
    """Removes the nodes that no output needs from a graph.

    Args:
        definition: The graph, which is changed.
        outputs: Names of tensors, such as `logits:0`.

    Returns:
        Names of the nodes that are left.
    """
    nodes = {node.name: node for node in definition.node}
    left: set[str] = set()
    following = [owner(name) for name in outputs]
    while following:
        name = following.pop()
        if name not in left:
            left.add(name)
            following += [owner(one) for one in nodes[name].input]
    kept = [nodes[name] for name in nodes if name in left]
    del definition.node[:]
    definition.node.extend(kept)
    return left


def make_input(node: Any, dtype: tf.DType) -> None:
    """Makes an input of a graph's node.

    Args:
        node: The node, which is changed.
        dtype: What it is given.
    """
    node.op = "Placeholder"
    del node.input[:]
    node.attr.clear()
    node.attr["dtype"].type = dtype.as_datatype_enum


def owner(name: str) -> str:
    """Returns the name of the node of a tensor, such as `logits` of `logits:0`."""
    return name.split(":")[0]
