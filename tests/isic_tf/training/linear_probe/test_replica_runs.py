import numpy as np
import pytest
import tensorflow as tf

from isic_tf.training.linear_probe import replica_runs


@pytest.mark.parametrize("replicas", [1, 2])
def test_outputs_keep_the_order_of_the_batch(replicas, mirrored):
    strategy = mirrored if replicas == 2 else tf.distribute.get_strategy()
    sizes = []

    def function(left, right, factor):
        sizes.append(left.shape[0])
        return factor * left + right

    run = replica_runs.make_runner(strategy, function)
    batch = [tf.range(8), 100 * tf.range(8)]
    assert run(batch, tf.constant(2)).tolist() == [102 * number for number in range(8)]
    assert run(batch, tf.constant(3)).tolist() == [103 * number for number in range(8)]
    # Traced once, with the share of each replica.
    assert sizes == [8 // replicas] * replicas
    assert isinstance(run(batch, tf.constant(1)), np.ndarray)
