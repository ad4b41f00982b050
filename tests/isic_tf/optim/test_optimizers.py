import builtins
import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.optim import lr_schedules, optimizers


def schedule(name, steps=10, factor=1.0, **changes):
    recipe = make_config(**{"schedule": name, "learning_rate": 0.4, "epochs": 3, "warmup_epochs": 1.0, **changes})
    return lr_schedules.make_schedule(recipe, steps, factor)


def test_cosine_worked_by_hand():
    expected = {0: 0.0, 5: 0.2, 10: 0.4, 20: 0.2, 30: 0.0, 31: 0.0}
    expected[15] = 0.4 * (1 + math.cos(math.pi / 4)) / 2
    assert {step: float(schedule("cosine")(step)) for step in expected} == pytest.approx(expected, abs=1e-7)
    assert float(schedule("cosine", warmup_epochs=0.0)(0)) == pytest.approx(0.4)


def test_constant_worked_by_hand():
    expected = {0: 0.0, 5: 0.2, 10: 0.4, 29: 0.4}
    assert {step: float(schedule("constant")(step)) for step in expected} == pytest.approx(expected, abs=1e-7)
    assert float(schedule("constant", factor=0.5)(29)) == pytest.approx(0.2)


def test_the_schedule_of_a_late_start_goes_on_where_the_run_is():
    recipe = make_config(**{"schedule": "cosine", "learning_rate": 0.4, "epochs": 3, "warmup_epochs": 1.0})
    late = lr_schedules.make_schedule(recipe, 10, first=10)
    # The second epoch is warmed up in again: its begin, its middle (half of a cosine's 0.4 (1 + cos(pi / 4)) / 2), its
    # end, and the run's end.
    expected = [0.0, 0.1 * (1 + math.cos(math.pi / 4)), 0.2, 0.0]
    assert [float(late(step)) for step in (0, 5, 10, 20)] == pytest.approx(expected, abs=1e-7)
    late = lr_schedules.make_schedule(dataclasses.replace(recipe, warmup_epochs=0.0), 10, first=10)
    assert [float(late(step)) for step in (0, 20)] == pytest.approx([0.3, 0.0], abs=1e-7)


def test_deottes_schedule_reaches_its_peak_after_part_of_an_epoch():
    found = schedule("deotte", learning_rate=1.0, epochs=5, warmup_epochs=1.5)
    assert float(found(20)) == pytest.approx(1.0)
    assert float(found(30)) == pytest.approx(1 / 320 + (1 - 1 / 320) * 0.8)


def test_deottes_schedule_gives_the_rates_of_the_notebook():
    # Its eight replicas of batches of 32 peak at 1.25e-6 * 8 * 32; ramp 5 epochs, hold 0.
    def published(epoch, hold):
        start, peak, end = 5e-6, 1.25e-6 * 8 * 32, 1e-6
        if epoch < 5:
            return (peak - start) / 5 * epoch + start
        return peak if epoch < 5 + hold else (peak - end) * 0.8 ** (epoch - 5 - hold) + end

    for hold in (0, 2):
        found = schedule("deotte", learning_rate=3.2e-4, epochs=12, warmup_epochs=5.0, hold_epochs=float(hold))
        for epoch in range(12):
            # The same for all steps of an epoch.
            for step in (10 * epoch, 10 * epoch + 9):
                assert float(found(step)) == pytest.approx(published(epoch, hold), rel=1e-5)


def test_a_warm_up_as_long_as_the_run_is_refused():
    with pytest.raises(ValueError, match="expected a warm-up shorter than the run's 30 steps, got 30; lower --warmup"):
        schedule("cosine", warmup_epochs=3.0)


def decayed(**changes):
    """Weights of 1 after a step with gradients of 0, by name."""
    recipe = {"schedule": "constant", "warmup_epochs": 0.0, "learning_rate": 0.1, "weight_decay": 0.5}
    recipe = make_config(**recipe | changes)
    layers = [tf.keras.Input((2,)), tf.keras.layers.Dense(2), tf.keras.layers.BatchNormalization()]
    network = tf.keras.Sequential(layers)
    for variable in network.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = optimizers.make_optimizer(recipe, lr_schedules.make_schedule(recipe, 10))
    optimizers.build(optimizer, network.trainable_variables)
    optimizer.apply_gradients([(tf.zeros_like(variable), variable) for variable in network.trainable_variables])
    assert int(optimizer.iterations) == 1
    return {variable.name.split("/")[-1]: variable.numpy() for variable in network.trainable_variables}


def needs_addons(name):
    if name in ("lamb", "novograd", "radam", "ranger"):
        try:
            optimizers._import_addons(name)
        except ValueError as error:
            pytest.skip(str(error))


# With a gradient of zero only the decay moves a weight: w - rate * decay * w = 1 - 0.1 * 0.5. LAMB takes a step of
# rate * norm of the layer, along the decay, so 1 - 0.1.
KERNELS = {"adamw": 0.95, "adam": 1, "sgd": 0.95, "lamb": 0.9, "novograd": 0.95, "radam": 0.95, "ranger": 0.95}


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_weight_decay_spares_norms_and_biases(name):
    needs_addons(name)
    found = decayed(optimizer=name)
    assert found.pop("kernel:0") == pytest.approx(KERNELS[name])
    assert found.keys() == {"bias:0", "gamma:0", "beta:0"}
    assert all((weight == 1).all() for weight in found.values())


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_an_optimizer_goes_on_from_a_checkpoint(name, tmp_path):
    needs_addons(name)
    recipe = make_config(**{"optimizer": name, "epochs": 9})

    def begin():
        variable = tf.Variable([1.0, -2.0], name="kernel")
        optimizer = optimizers.make_optimizer(recipe, lr_schedules.make_schedule(recipe, 3))
        optimizers.build(optimizer, [variable])
        return tf.train.Checkpoint(optimizer=optimizer, variable=variable)

    def step(state, number):
        state.optimizer.apply_gradients([(tf.constant([0.5, -0.1 * number]), state.variable)])

    whole = begin()
    for number in range(4):
        step(whole, number)
    path = whole.save(str(tmp_path / "ckpt"))
    resumed = begin()
    resumed.restore(path).assert_consumed()
    # Over a sixth step too, where Lookahead takes its slow weights.
    for number in range(4, 9):
        step(whole, number)
        step(resumed, number)
    assert np.array_equal(whole.variable, resumed.variable)


def test_an_optimizer_whose_package_is_not_there_says_what_to_install(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("tensorflow_addons"):
            raise ImportError("no module of that name")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ValueError, match="--optimizer=ranger needs the package tensorflow-addons, .*adamw needs"):
        decayed(optimizer="ranger")
