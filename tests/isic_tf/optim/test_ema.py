import pytest
import tensorflow as tf
from harness import tiny_with_norm

from isic_tf.optim import ema


def make_state(steps):
    model = tiny_with_norm("", 32, "")
    optimizer = tf.keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    optimizer.iterations.assign(steps)
    averages = [ema.start_average(weight) for weight in ema.averaged_weights(model)]
    return tf.train.Checkpoint(model=model, optimizer=optimizer, averages=averages)


# The decay is the smaller one of n / (n + 9) after n steps and the option.
@pytest.mark.parametrize(("steps", "decay"), [(1, 0.1), (3, 0.25), (91, 0.9), (1000, 0.9)])
def test_the_decay_grows_with_the_steps_worked_by_hand(steps, decay):
    state = make_state(steps)
    for weight, average in zip(ema.averaged_weights(state.model), state.averages, strict=True):
        average.assign(tf.ones_like(average))
        weight.assign(3 * tf.ones_like(weight))
    ema.update_averages(state, 0.9)
    for average in state.averages:
        assert average.numpy() == pytest.approx(decay * 1 + (1 - decay) * 3)


def test_constants_keep_their_digits():
    layer = tf.keras.layers.Layer(name="standardized")
    constant = layer.add_weight(f"{ema.CONSTANT}mean", (1000,), initializer="glorot_uniform", trainable=False)
    averages = [ema.start_average(weight) for weight in ema.averaged_weights(layer)]
    optimizer = tf.keras.optimizers.SGD()
    optimizer.build([])
    optimizer.iterations.assign(91)
    state = tf.train.Checkpoint(model=layer, optimizer=optimizer, averages=averages)
    ema.update_averages(state, 0.7)
    assert averages[0].numpy().tolist() == constant.numpy().tolist()


def test_averages_start_at_the_weights_and_include_batch_statistics():
    state = make_state(0)
    names = [weight.name for weight in ema.averaged_weights(state.model)]
    assert names == sorted(names)
    assert {"norm/moving_mean:0", "norm/moving_variance:0"} < set(names)
    for weight, average in zip(ema.averaged_weights(state.model), state.averages, strict=True):
        assert (average.numpy() == weight.numpy()).all()
        assert not average.trainable


def test_freezing_a_layer_does_not_change_the_order():
    model = tiny_with_norm("", 32, "")
    before = [weight.ref() for weight in ema.averaged_weights(model)]
    model.layers[1].trainable = False
    assert [weight.ref() for weight in ema.averaged_weights(model)] == before


def test_averages_are_copied_into_another_classifier_alone():
    state, other = make_state(0), tiny_with_norm("", 32, "")
    for average in state.averages:
        average.assign(2 * tf.ones_like(average))
    ema.copy_averages(state, state.model)
    assert not any((weight.numpy() == 2).all() for weight in state.model.weights)
    ema.copy_averages(state, other)
    assert all((weight.numpy() == 2).all() for weight in other.weights)


def test_without_averages_nothing_is_updated():
    model = tiny_with_norm("", 32, "")
    ema.update_averages(tf.train.Checkpoint(model=model, averages=[]), 0.9)
