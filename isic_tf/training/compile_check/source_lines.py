"""Finds the Python line that a node of a TensorFlow graph comes from."""

import os
from collections.abc import Iterator, Sequence

import tensorflow as tf

import isic_tf

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(isic_tf.__file__)))
_PACKAGE = os.path.join(_ROOT, "isic_tf", "")


def find_line(graph: tf.Graph, scope: str) -> str:
    """Returns the line that a node of a graph, or of a function that it calls, comes from.

    Args:
        graph: Graph of a concrete function.
        scope: Name of the node as XLA has it: the names of the calls that lead to it, and its own, separated by
            slashes.

    Returns:
        Path and line, such as `isic_tf/augmentation/color.py:41`, of the innermost code of this package; "" if there is
        none.
    """
    node = _find_node(graph, scope.split("/"))
    if node is None:
        return ""
    frames = [frame for frame in node.traceback if frame.filename.startswith(_PACKAGE)]
    own = [frame for frame in frames if os.path.dirname(frame.filename) != os.path.dirname(__file__)]
    return f"{os.path.relpath(own[-1].filename, _ROOT)}:{own[-1].lineno}" if own else ""


def _find_node(graph: tf.Graph, parts: Sequence[str]) -> tf.Operation | None:
    """Returns the innermost node that the parts of a name lead to; None if not even the first call is found."""
    for length in range(len(parts), 0, -1):
        try:
            node = graph.get_operation_by_name("/".join(parts[:length]))
        except KeyError:
            continue
        rest = parts[length:]
        # Nodes of a loop have its name, or have not.
        names = (rest, parts) if rest else ()
        inner = (_find_node(function, name) for name in names for function in _list_functions(node))
        return next((found for found in inner if found is not None), node)
    return None


def _list_functions(node: tf.Operation) -> Iterator[tf.Graph]:
    """Yields the graphs of the functions that a node calls, as branches and loops too."""
    for attribute in node.node_def.attr.values():
        for function in (attribute.func, *attribute.list.func):
            if function.name:
                yield node.graph._get_function(function.name).graph
