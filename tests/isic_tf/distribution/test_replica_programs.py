import re

import pytest
import tensorflow as tf

from isic_tf.distribution import replica_programs
from isic_tf.training import losses


def lower(strategy, function, *values):
    """Returns the program of a replica as text, before a compiler has changed it."""
    program = tf.function(lambda *own: strategy.run(function, args=own), jit_compile=True, autograph=False)
    return program.experimental_get_compiler_ir(*values)(stage="hlo")


def list_sums(text):
    """Lists the shapes that are summed over replicas, and checks that all eight take part."""
    found = re.findall(r" = (\S+) all-reduce\(.*replica_groups=\{\{(.*?)\}\}", text)
    assert {replicas for _, replicas in found} <= {"0,1,2,3,4,5,6,7"}
    return sorted(re.sub(r"\{[\d,]*\}$", "", shape) for shape, _ in found)


@pytest.fixture(scope="module")
def strategy():
    return replica_programs.ReplicaProgramStrategy(8)


def test_a_program_is_that_of_one_replica_of_several(strategy):
    assert strategy.num_replicas_in_sync == 8
    with strategy.scope():
        total = tf.Variable(tf.zeros([3]))

    def add(values):
        context = tf.distribute.get_replica_context()
        assert context.num_replicas_in_sync == 8
        total.assign_add(context.all_reduce(tf.distribute.ReduceOp.SUM, values))

    text = lower(strategy, add, tf.ones([3]))
    assert list_sums(text) == ["f32[3]"]
    # The variable that is updated keeps its place in memory.
    assert "input_output_alias={ {}: (1," in text
    assert "divide" not in text


def test_a_mean_over_replicas_is_a_sum_divided_by_their_number(strategy):
    def mean(values):
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.MEAN, values)

    text = lower(strategy, mean, tf.ones([3]))
    assert list_sums(text) == ["f32[3]"]
    assert re.search(r"divide\(f32\[3\]\S* %XlaAllReduce", text)
    assert "f32[] constant(8)" in text


def test_values_of_all_replicas_are_gathered_as_on_a_tpu(strategy):
    text = lower(strategy, losses.pairwise_ranking_loss, tf.zeros([4, 1]), tf.zeros([4, 1]))
    # Each replica fills its own row of a sum: labels and scores.
    assert list_sums(text) == ["f32[8,4]", "f32[8,4]"]
    assert "replica-id()" in text


def test_synchronized_batch_norm_exchanges_its_statistics(strategy):
    with strategy.scope():
        layer = tf.keras.layers.BatchNormalization(synchronized=True)
        layer.build([None, 2])
    text = lower(strategy, lambda values: layer(values, training=True), tf.ones([4, 2]))
    # Sum, sum of squares and number of rows.
    assert list_sums(text) == ["f32[1,2]", "f32[1,2]", "f32[1,2]"]
