import math

import numpy as np
import pytest
import tensorflow as tf
from harness import make_config, tiny, tiny_trunk, tiny_with_norm

from isic_tf.data import input_pipeline, mixture, record_seeds, record_stream
from isic_tf.distribution import strategies
from isic_tf.models import backbones, classifiers, layer_decay
from isic_tf.optim import ema, optimizers
from isic_tf.optim.config import OPTIMIZERS
from isic_tf.training import distributed_input, divergence, train_state, train_step


def one_step(strategy, plan, frozen=False, **changes):
    """Returns the loss, and by name the change of the tiny model's weights in a step of SGD with rate 1."""
    recipe = make_config(**changes)
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        classifier = tiny(None, 32, None)
        optimizer = tf.keras.optimizers.SGD(1.0)
        optimizer.build(classifier.trainable_variables)
    counts = {"step": tf.Variable(0, dtype=tf.int64), "loss": tf.Variable(0.0), "gradient_norm": tf.Variable(0.0)}
    counts["bad_step"] = tf.Variable(-1, dtype=tf.int64)
    before = {weight.name: weight.numpy() for weight in classifier.weights}
    state = tf.train.Checkpoint(model=classifier, optimizer=optimizer, others=[], averages=[], **counts)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    train_step.make_train_step(strategy, state, recipe, frozen)(batches)
    assert int(state.step) == 1
    return float(state.loss), {weight.name: weight.numpy() - before[weight.name] for weight in classifier.weights}


@pytest.fixture
def plan(record_set):
    return mixture.plan_fold(mixture.read_sets(str(record_set)), 0)


def test_gradients_and_loss_are_the_same_on_one_replica_and_on_two(plan, mirrored):
    # Clipped too: not each replica's own gradients.
    for clip_norm in (0.0, 0.01):
        loss, gradients = one_step(tf.distribute.get_strategy(), plan, clip_norm=clip_norm)
        loss_of_two, gradients_of_two = one_step(mirrored, plan, clip_norm=clip_norm)
        assert loss_of_two == pytest.approx(loss, abs=1e-5)
        # Two replicas take half batches of the stream in turn, so a global batch holds the records of one replica's.
        for name, gradient in gradients.items():
            assert np.abs(gradient).max() > 1e-4
            assert np.abs(gradient - gradients_of_two[name]).max() < 1e-5


def test_the_ranking_loss_compares_images_of_all_replicas(plan, mirrored):
    loss, gradients = one_step(tf.distribute.get_strategy(), plan, loss="auc")
    loss_of_two, gradients_of_two = one_step(mirrored, plan, loss="auc")
    assert loss_of_two == pytest.approx(loss, abs=1e-5)
    for name, gradient in gradients.items():
        assert np.abs(gradient - gradients_of_two[name]).max() < 1e-5
    assert np.abs(gradients["convolution/kernel:0"]).max() > 1e-4


def test_several_steps_at_once_are_those_of_one_at_a_time(plan, monkeypatch, mirrored):
    for chosen in (tf.distribute.get_strategy(), mirrored):
        found = []
        for counts in ((1, 1, 1), (3,)):
            strategy, recipe, state = make_state(monkeypatch, chosen)
            step = train_step.make_train_step(strategy, state, recipe)
            batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
            assert all(step(batches, count) >= 0 for count in counts)
            assert int(state.step) == 3
            found.append([float(state.loss), float(state.gradient_norm), *(w.numpy() for w in state.model.weights)])
        for one, other in zip(*found, strict=True):
            assert one == pytest.approx(other, abs=1e-6)


def test_a_step_with_a_nan_loss_is_recorded_and_its_images_are_named(plan, monkeypatch):
    strategy, recipe, state = make_state(monkeypatch)
    step = train_step.make_train_step(strategy, state, recipe)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    step(batches)
    divergence.check_divergence(state, plan, recipe, "fold0", None)
    state.model.layers[-1].bias.assign([float("nan")])
    step(batches, 2)
    assert int(state.bad_step) == 2
    # The second batch of the stream, read with names.
    dataset = input_pipeline.make_train_dataset(
        plan.rows,
        plan.samples_per_epoch,
        image_size=32,
        batch_size=8,
        seed=recipe.seed,
        threads=1,
        stream=record_stream.StreamOptions(shuffle_buffer=16),
    )
    (*_, seeds) = list(dataset.take(2))[1]
    by_key = dict(zip(record_seeds.hash_keys(plan.rows).numpy(), plan.rows["image_name"], strict=True))
    names = [by_key[key] for key in seeds[:, 1].numpy()]
    assert len(set(names)) == 8
    with pytest.raises(ValueError, match=f"diverged at step 2: .*{', '.join(names)}. The last good .* is kept/ckpt-1"):
        divergence.check_divergence(state, plan, recipe, "fold0", "kept/ckpt-1")


def test_micro_batches_give_the_gradients_of_the_batch(plan, mirrored):
    loss, gradients = one_step(tf.distribute.get_strategy(), plan)
    for strategy, parts in ((tf.distribute.get_strategy(), 4), (mirrored, 2)):
        loss_in_parts, in_parts = one_step(strategy, plan, gradient_accumulation_steps=parts)
        assert loss_in_parts == pytest.approx(loss, abs=1e-5)
        for name, gradient in gradients.items():
            assert np.abs(gradient - in_parts[name]).max() < 1e-5


def test_clipped_gradients_have_the_norm_and_keep_their_direction(plan):
    _, gradients = one_step(tf.distribute.get_strategy(), plan)
    _, clipped = one_step(tf.distribute.get_strategy(), plan, clip_norm=0.01)
    norm = math.sqrt(sum((gradient**2).sum() for gradient in gradients.values()))
    assert norm > 0.01
    for name, gradient in gradients.items():
        assert clipped[name] == pytest.approx(gradient * 0.01 / norm, abs=1e-6)


def test_a_frozen_backbone_stays_and_the_head_moves(plan):
    _, changes = one_step(tf.distribute.get_strategy(), plan, frozen=True, layer_decay=0.5)
    for name, change in changes.items():
        assert (np.abs(change).max() > 1e-4) == ("logits" in name)


def make_state(monkeypatch, strategy=None, build=tiny, **changes):
    monkeypatch.setattr(classifiers, "build_classifier", build)
    tf.keras.utils.set_random_seed(0)
    recipe = make_config(**{"warmup_epochs": 0.0, "schedule": "constant", **changes})
    strategy = strategy or tf.distribute.get_strategy()
    return strategy, recipe, train_state.make_state(strategy, recipe, 3)


def test_a_frozen_batch_norm_keeps_its_statistics(plan, monkeypatch):
    images, norm = tf.keras.Input((32, 32, 3)), tf.keras.layers.BatchNormalization()
    pooled = tf.keras.layers.GlobalAveragePooling2D()(tf.keras.Model(images, norm(images))(images))
    network = tf.keras.Model(images, tf.keras.layers.Dense(1)(pooled))
    monkeypatch.setattr(classifiers, "build_classifier", lambda *_, **__: network)
    recipe, strategy = make_config(**{"freeze_epochs": 1}), tf.distribute.get_strategy()
    state = train_state.make_state(strategy, recipe, 3)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    for frozen in (True, False):
        before = norm.moving_mean.numpy()
        train_step.make_train_step(strategy, state, recipe, frozen)(batches)
        assert np.array_equal(before, norm.moving_mean.numpy()) == frozen


def test_a_backbone_that_was_frozen_takes_its_first_step_at_the_rate(plan, monkeypatch):
    options = {"optimizer": "adam", "freeze_epochs": 1, "learning_rate": 1e-3}
    strategy, recipe, state = make_state(monkeypatch, None, tiny_with_norm, **options)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    stem = next(weight for weight in state.model.weights if "stem/kernel" in weight.name)
    changes = []
    for frozen, steps in ((True, 3), (False, 1)):
        before = stem.numpy()
        train_step.make_train_step(strategy, state, recipe, frozen)(batches, steps)
        changes.append(np.abs(stem.numpy() - before).max())
    # Adam's first step is the rate; with means of 0 that count as settled in the fourth it would be 0.58 of it.
    assert changes == [0, pytest.approx(1e-3, rel=0.01)]


# The backbone has one block.
@pytest.mark.parametrize(
    "slower",
    [{"backbone_lr_multiplier": 0.25}, {"layer_decay": 0.25}, {"backbone_lr_multiplier": 0.5, "layer_decay": 0.5}],
)
def test_the_backbone_learns_at_its_own_rate(plan, monkeypatch, slower):
    changes = []
    for rates in ({}, slower):
        options = {"optimizer": "sgd", "weight_decay": 0.0, "learning_rate": 0.1, **rates}
        strategy, recipe, state = make_state(monkeypatch, **options)
        before = {weight.name: weight.numpy() for weight in state.model.weights}
        batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
        train_step.make_train_step(strategy, state, recipe)(batches)
        changes.append({weight.name: weight.numpy() - before[weight.name] for weight in state.model.weights})
    for name, change in changes[0].items():
        factor = 0.25 if "convolution" in name else 1
        assert np.abs(change).max() > 1e-5
        assert changes[1][name] == pytest.approx(factor * change, abs=1e-7)


def change_twice(monkeypatch, decay, **options):
    """Returns by name the change of the weights in two updates by the same gradients."""
    *_, state = make_state(monkeypatch, weight_decay=0.1, **options)
    weights = state.model.trainable_weights
    before = [weight.numpy() for weight in weights]
    gradients = [tf.random.stateless_normal(weight.shape, [1, number]) for number, weight in enumerate(weights)]
    for _ in range(2):
        train_step._update(state, gradients, decay)
    return {weight.name: weight.numpy() - old for weight, old in zip(weights, before, strict=True)}


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "ranger"])
def test_a_share_of_an_update_is_that_of_a_share_of_the_rate(monkeypatch, optimizer):
    if optimizer not in optimizers._KERAS_OPTIMIZERS:
        try:
            optimizers._import_addons(optimizer)
        except ValueError as error:
            pytest.skip(str(error))
    full = change_twice(monkeypatch, 1.0, optimizer=optimizer, learning_rate=0.02)
    decayed = change_twice(monkeypatch, 0.25, optimizer=optimizer, learning_rate=0.02)
    expected = change_twice(monkeypatch, 1.0, optimizer=optimizer, learning_rate=0.005)
    for name, change in decayed.items():
        in_backbone = "convolution" in name
        assert change == pytest.approx((expected if in_backbone else full)[name], rel=1e-4, abs=1e-7)
        assert (np.abs(change - full[name]).max() > 1e-3 * np.abs(full[name]).max()) == in_backbone


def test_without_layer_decay_nothing_is_added_to_the_update(monkeypatch):
    monkeypatch.delattr(layer_decay, "find_factors")
    assert all(np.any(change != 0) for change in change_twice(monkeypatch, 1.0, optimizer="sgd").values())
    with pytest.raises(AttributeError, match="find_factors"):
        change_twice(monkeypatch, 0.9, optimizer="sgd")


@pytest.mark.parametrize("name", ["default", "mirrored"])
def test_averaged_weights_worked_by_hand(plan, monkeypatch, name):
    strategy, recipe, state = make_state(monkeypatch, strategies.choose_strategy(name), tiny_with_norm, ema=0.15)
    evaluated = train_state.make_evaluated(strategy, state, recipe)
    step = train_step.make_train_step(strategy, state, recipe)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    # Of batch statistics the mean over the replicas is read.
    expected = [weight.read_value().numpy() for weight in ema.averaged_weights(state.model)]
    # After the first step the decay is 1/10; the rule's 2/11 and 3/12 are above the flag's 0.15.
    for decay in (0.1, 0.15, 0.15):
        step(batches)
        current = [weight.read_value().numpy() for weight in ema.averaged_weights(state.model)]
        expected = [decay * old + (1 - decay) * new for old, new in zip(expected, current, strict=True)]
    ema.copy_averages(state, evaluated)
    assert len(expected) == len(evaluated.weights) == len(evaluated.trainable_weights) + 2
    for found, wanted, now in zip(ema.averaged_weights(evaluated), expected, current, strict=True):
        assert found.read_value().numpy() == pytest.approx(wanted, abs=1e-6)
        assert np.abs(wanted - now).max() > 1e-5


def test_two_replicas_average_and_decay_the_backbone_at_its_own_rate_as_one_does(plan, monkeypatch, mirrored):
    found = []
    for chosen in (tf.distribute.get_strategy(), mirrored):
        options = {"ema": 0.5, "backbone_lr_multiplier": 0.5, "optimizer": "sgd", "weight_decay": 0.5}
        options |= {"layer_decay": 0.5}
        strategy, recipe, state = make_state(monkeypatch, chosen, **options)
        step = train_step.make_train_step(strategy, state, recipe)
        batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
        step(batches)
        step(batches)
        evaluated = train_state.make_evaluated(strategy, state, recipe)
        ema.copy_averages(state, evaluated)
        found.append([weight.numpy() for weight in ema.averaged_weights(evaluated)])
    for one, two in zip(*found, strict=True):
        assert np.abs(one - two).max() < 1e-5


@pytest.mark.parametrize("precision", ["mixed_bfloat16", "mixed_float16"])
def test_half_precision_trains_float32_weights_nearly_alike(plan, monkeypatch, precision):
    losses = []
    for name in ("float32", precision):
        strategy, recipe, state = make_state(monkeypatch, precision=name)
        batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
        step = train_step.make_train_step(strategy, state, recipe)
        for _ in range(4):
            step(batches)
        losses.append(float(state.loss))
        assert {weight.dtype for weight in state.model.weights} == {tf.float32}
    assert classifiers.backbone_of(state.model).layers[-1].compute_dtype == precision.removeprefix("mixed_")
    assert state.model.output.dtype == tf.float32
    assert 0 < abs(losses[0] - losses[1]) < 0.02
    assert tf.keras.mixed_precision.global_policy().name == "float32"


@pytest.mark.parametrize("decay", [1.0, 0.5])
def test_a_step_whose_scaled_gradients_overflow_is_skipped_and_the_scale_halved(plan, monkeypatch, decay):
    strategy, recipe, state = make_state(monkeypatch, precision="mixed_float16", layer_decay=decay)
    scale = float(state.optimizer.loss_scale)
    state.model.set_weights([weight * 1e30 for weight in state.model.get_weights()])
    enormous = state.model.get_weights()
    train_step.make_train_step(strategy, state, recipe)(
        distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    )
    assert all(np.array_equal(*pair) for pair in zip(state.model.get_weights(), enormous, strict=True))
    assert float(state.optimizer.loss_scale) == scale / 2
    assert int(state.bad_step) == -1


def test_scaled_gradients_that_overflow_at_the_lowest_scale_are_divergence(plan, monkeypatch):
    strategy, recipe, state = make_state(monkeypatch, precision="mixed_float16", clip_norm=1.0)
    original = tf.linalg.global_norm
    monkeypatch.setattr(tf.linalg, "global_norm", lambda gradients: original(gradients) + math.inf)
    state.optimizer._loss_scale.current_loss_scale.assign(2.0)
    step = train_step.make_train_step(strategy, state, recipe)
    batches = distributed_input.make_batches(strategy, plan, None, recipe, start=0)
    found = []
    for _ in range(3):
        step(batches)
        found.append((float(state.optimizer.loss_scale), int(state.bad_step)))
    # The first step's scale of 2 can still be halved.
    assert found == [(1, -1), (1, 2), (1, 2)]


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_whole_step_compiles_under_xla_as_tpus_require(monkeypatch, accumulation_steps):
    monkeypatch.setattr(classifiers, "build_classifier", tiny_with_norm)
    recipe = {"precision": "mixed_bfloat16", "ema": 0.9, "clip_norm": 1.0, "warmup_epochs": 0.0}
    recipe |= {"gradient_accumulation_steps": accumulation_steps}
    recipe |= {"augment_policy": "winner", "layer_decay": 0.5} if accumulation_steps > 1 else {}
    recipe = make_config(**recipe)
    state = train_state.make_state(tf.distribute.get_strategy(), recipe, 3)
    # XLA takes no operation of the host and no shape that is not known.
    step = tf.function(train_step.make_replica_step(state, recipe), jit_compile=True)
    images = tf.cast(tf.random.stateless_uniform([8, 32, 32, 3], [1, 2], 0, 256, tf.int32), tf.uint8)
    before = state.averages[0].numpy()
    labels = tf.constant([[0.0], [1.0]] * 4)
    loss, norm = step(images, labels, tf.random.stateless_uniform([8, 2], [3, 4], 0, 2**60, tf.int64))
    assert math.isfinite(loss)
    assert 0 < norm < math.inf
    assert not np.array_equal(before, state.averages[0].numpy())


def test_a_step_with_every_part_of_the_head_compiles_under_xla(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    recipe = {
        "precision": "mixed_bfloat16",
        "target": "diagnosis",
        "metadata": "age,sex,site",
        "loss": "focal",
    }
    recipe |= {
        "pooling": "gem",
        "hidden_units": 8,
        "dropout_samples": 3,
        "augment_policy": "strong",
        "augment_strength": 0.0,
    }
    recipe = make_config(**recipe)
    state = train_state.make_state(tf.distribute.get_strategy(), recipe, 3)
    step = tf.function(train_step.make_replica_step(state, recipe), jit_compile=True)
    images = tf.cast(tf.random.stateless_uniform([4, 32, 32, 3], [1, 2], 0, 256, tf.int32), tf.uint8)
    labels = tf.concat([tf.one_hot([0, 1, 2, 8], 9), tf.one_hot([1, 2, 3, 11], 12)], axis=1)
    loss, norm = step(images, labels, tf.random.stateless_uniform([4, 2], [3, 4], 0, 2**60, tf.int64))
    assert 0 < loss < math.inf
    assert 0 < norm < math.inf


def test_prediction_compiles_under_xla():
    classifier = classifiers.build_classifier("efficientnet-b0", 32)
    forward = tf.function(lambda images: tf.sigmoid(classifier(images, training=False)), jit_compile=True)
    images = tf.random.stateless_uniform([4, 32, 32, 3], [1, 2])
    assert forward(images).numpy() == pytest.approx(tf.sigmoid(classifier(images)).numpy(), abs=1e-4)
