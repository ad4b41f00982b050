import builtins

import numpy as np
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.optim import config, lr_schedules, optimizers


def decayed(**changes):
    """Weights of 1 after a step with gradients of 0, by name."""
    recipe = {"schedule": "constant", "warmup_epochs": 0.0, "learning_rate": 0.1, "weight_decay": 0.5}
    recipe = make_config(**recipe | changes)
    layers = [tf.keras.Input((2,)), tf.keras.layers.Dense(2), tf.keras.layers.BatchNormalization()]
    network = tf.keras.Sequential(layers)
    for variable in network.trainable_variables:
        variable.assign(tf.ones_like(variable))
    optimizer = optimizers.make_optimizer(recipe, lr_schedules.make_schedule(recipe, 10))
    optimizers.create_variables(optimizer, network.trainable_variables)
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


@pytest.mark.parametrize("name", config.OPTIMIZERS)
def test_norms_and_biases_are_not_decayed(name):
    needs_addons(name)
    found = decayed(optimizer=name)
    assert found.pop("kernel:0") == pytest.approx(KERNELS[name])
    assert found.keys() == {"bias:0", "gamma:0", "beta:0"}
    assert all((weight == 1).all() for weight in found.values())


@pytest.mark.parametrize("name", config.OPTIMIZERS)
def test_an_optimizer_resumes_from_a_checkpoint(name, tmp_path):
    needs_addons(name)
    recipe = make_config(**{"optimizer": name, "epochs": 9})

    def begin():
        variable = tf.Variable([1.0, -2.0], name="kernel")
        optimizer = optimizers.make_optimizer(recipe, lr_schedules.make_schedule(recipe, 3))
        optimizers.create_variables(optimizer, [variable])
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


def test_an_optimizer_whose_package_is_missing_names_what_to_install(monkeypatch):
    original = builtins.__import__

    def without(name, *arguments, **options):
        if name.startswith("tensorflow_addons"):
            raise ImportError("no module of that name")
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(
        ValueError, match="--optimizer=ranger needs the package tensorflow-addons, .*--optimizer=adamw needs"
    ):
        decayed(optimizer="ranger")


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_updates_as_keras_does_to_the_last_bit(name):
    recipe = make_config(**{"optimizer": name, "epochs": 9})
    schedule = lr_schedules.make_schedule(recipe, 3)
    decay = recipe.weight_decay if name == "adamw" else None
    reference = tf.keras.optimizers.Adam(schedule, weight_decay=decay, jit_compile=False)
    if decay:
        reference.exclude_from_weight_decay(var_names=list(optimizers._NOT_DECAYED))
    rng = np.random.default_rng(0)
    starts = [np.float32(rng.normal(size=shape)) for shape in ((3, 4), (4,))]
    gradients = [[np.float32(rng.normal(size=start.shape)) for start in starts] for _ in range(5)]
    found = []
    for optimizer in (optimizers.make_optimizer(recipe, schedule), reference):
        variables = [tf.Variable(start, name=kind) for start, kind in zip(starts, ("kernel", "bias"), strict=True)]
        optimizers.create_variables(optimizer, variables)
        step = tf.function(
            lambda *given, own=variables, by=optimizer: by.apply_gradients(list(zip(given, own, strict=True)))
        )
        for given in gradients:
            step(*given)
        found.append([variable.numpy() for variable in variables])
    assert not np.array_equal(found[0][0], starts[0])
    for own, expected in zip(*found, strict=True):
        assert np.array_equal(own, expected)
