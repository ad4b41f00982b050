import inspect

import tensorflow as tf

from isic_tf.data import decoding, record_seeds
from isic_tf.training.compile_check import source_lines


def test_a_node_in_a_function_and_in_a_loop_is_found_by_its_path():
    inner = tf.function(decoding.to_float, autograph=False)

    @tf.function
    def outer(images):
        total = inner(images)
        for _ in tf.range(3):
            total += decoding.to_float(images)
        return tf.reduce_sum(total)

    graph = outer.get_concrete_function(tf.TensorSpec([2, 4, 4, 3], tf.uint8)).graph
    lines, first = inspect.getsourcelines(decoding.to_float)
    own = {f"isic_tf/data/decoding.py:{number}" for number in range(first, first + len(lines))}
    call = next(node.name for node in graph.get_operations() if node.type == "PartitionedCall")
    assert source_lines.find_line(graph, f"{call}/Cast") in own
    assert source_lines.find_line(graph, "while/Cast") in own
    # Nodes of this test belong to no module of the package.
    assert source_lines.find_line(graph, "Sum") == ""
    assert source_lines.find_line(graph, "nothing/of/this/name") == ""


def test_the_innermost_module_of_the_package_is_named():
    function = tf.function(lambda seeds: record_seeds.record_seed(seeds, 1, seeds, seeds), autograph=False)
    graph = function.get_concrete_function(tf.TensorSpec([4], tf.int64)).graph
    lines = {source_lines.find_line(graph, node.name).partition(":")[0] for node in graph.get_operations()}
    assert lines <= {"", "isic_tf/data/record_seeds.py"}
    assert len(lines) == 2
