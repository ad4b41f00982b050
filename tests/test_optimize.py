import math

import numpy as np
import pytest
import tensorflow as tf
from conftest import RECIPE, tiny

from isic_tf import epochs, mixture, optimize


def test_schedule_of_a_run_worked_by_hand():
    schedule = optimize.make_schedule(0.4, warmup_steps=10, total_steps=30)
    expected = {0: 0.0, 5: 0.2, 10: 0.4, 20: 0.2, 30: 0.0}
    expected[15] = 0.4 * (1 + math.cos(math.pi / 4)) / 2
    assert {step: float(schedule(step)) for step in expected} == pytest.approx(expected, abs=1e-7)
    assert float(optimize.make_schedule(0.4, 0, 30)(0)) == pytest.approx(0.4)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="expected a warm-up shorter than the run's 30 steps, got 30"):
        optimize.make_schedule(0.4, 30, 30)


def test_loss_worked_by_hand():
    # Smoothed by 0.2, a label of 1 is 0.9; at logit 0 every cross-entropy is log 2.
    losses = optimize.smoothed_loss(tf.constant([1.0, 0.0, 1.0]), tf.constant([0.0, 0.0, 2.0]), 0.2).numpy()
    probability = 1 / (1 + math.exp(-2))
    third = -0.9 * math.log(probability) - 0.1 * math.log(1 - probability)
    assert losses == pytest.approx([math.log(2), math.log(2), third], abs=1e-6)


def first_step(strategy, plan):
    """Weights of the tiny model after one step of plain SGD with rate 1, so that their change is the gradient."""
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        classifier = tiny(None, 32, None)
        optimizer = tf.keras.optimizers.SGD(1.0)
        optimizer.build(classifier.trainable_variables)
    counts = {"step": tf.Variable(0, dtype=tf.int64), "loss": tf.Variable(0.0)}
    before = [weight.copy() for weight in classifier.get_weights()]
    state = tf.train.Checkpoint(model=classifier, optimizer=optimizer, **counts)
    batches = epochs.make_batches(strategy, plan, None, RECIPE, start=0)
    optimize.make_train_step(strategy, state, RECIPE)(batches)
    assert int(state.step) == 1
    return float(state.loss), [new - old for new, old in zip(classifier.get_weights(), before, strict=True)]


def test_gradients_and_loss_are_the_same_on_one_replica_and_on_two(record_set, mirrored):
    plan = mixture.plan_fold(mixture.read_sets(str(record_set)), 0)
    loss, gradients = first_step(tf.distribute.get_strategy(), plan)
    loss_of_two, gradients_of_two = first_step(mirrored, plan)
    assert loss_of_two == pytest.approx(loss, abs=1e-5)
    # Two replicas take half batches of the stream in turn, so a global batch holds the records of one replica's.
    for one, two in zip(gradients, gradients_of_two, strict=True):
        assert np.abs(one).max() > 1e-4
        assert np.abs(one - two).max() < 1e-5


def test_weight_decay_spares_norms_and_biases():
    # With a gradient of zero only the decay moves a weight: w - rate * decay * w = 1 - 0.1 * 0.5.
    layers = [tf.keras.Input((2,)), tf.keras.layers.Dense(2), tf.keras.layers.BatchNormalization()]
    network = tf.keras.Sequential(layers)
    for variable in network.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = optimize.make_optimizer(0.1, 0.5)
    optimizer.build(network.trainable_variables)
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in network.trainable_variables])
    found = {variable.name.split("/")[-1]: variable.numpy() for variable in network.trainable_variables}
    assert found["kernel:0"] == pytest.approx(0.95)
    for name in ("bias:0", "gamma:0", "beta:0"):
        assert (found[name] == 1).all()
