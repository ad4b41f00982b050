import pytest
import tensorflow as tf

from isic_tf.inference import graph_definitions

NUMBER = tf.TensorSpec([], tf.float32)


def trace(function, *specs):
    return tf.function(function, autograph=False).get_concrete_function(*specs)


def compute(definition, outputs, values):
    @tf.function
    def run():
        inputs = {f"{name}:0": tf.identity(one) for name, one in values.items()}
        return tf.graph_util.import_graph_def(definition, inputs, outputs)

    return [one.numpy() for one in run()]


def test_variables_become_inputs():
    factor, offset = tf.Variable(2.0), tf.Variable(1.0)
    concrete = trace(lambda x: factor * x + offset, NUMBER)
    definition, reads = graph_definitions.copy_with_inputs(concrete, [offset, factor])
    assert {id(one) for one in reads.values()} == {id(factor), id(offset)}
    assert not [node for node in definition.node if node.op in ("ReadVariableOp", "VarHandleOp")]
    values = {name: tf.constant(5.0 if variable is factor else 7.0) for name, variable in reads.items()}
    values[concrete.inputs[0].op.name] = tf.constant(3.0)
    assert compute(definition, [concrete.outputs[0].name], values) == [5 * 3 + 7]


def test_what_no_output_needs_is_left_out():
    factor, unused = tf.Variable(2.0), tf.Variable(1.0)

    def double(x):
        tf.math.exp(unused * x)
        return factor * x

    definition, _ = graph_definitions.copy_with_inputs(trace(double, NUMBER), [factor, unused])
    assert not [node for node in definition.node if node.op == "Exp"]


@pytest.mark.parametrize("kind", ["another variable", "a constant from outside", "a function within"])
def test_whatever_else_a_function_uses_is_no_input(kind):
    factor, other = tf.Variable(2.0), tf.Variable(1.0)
    outside = tf.random.uniform([1000])
    inner = tf.function(lambda x: factor * x)
    functions = {
        "another variable": lambda x: other * x,
        "a constant from outside": lambda x: factor * x * outside,
        "a function within": lambda x: inner(x) * 2,
    }
    assert graph_definitions.copy_with_inputs(trace(functions[kind], NUMBER), [factor]) is None
