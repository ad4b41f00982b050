import dataclasses
import itertools

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk
from small_context import patch_small_classifiers

from isic_tf.data import image_cache, input_pipeline, mixture, patient_bags, record_stream
from isic_tf.models import backbones, classifiers
from isic_tf.optim import ema
from isic_tf.training import config_checks, distributed_input, fold_setup, train_state, train_step

SIZE = 4
SET = make_config(**{"context": "set", "bag_size": SIZE})


@pytest.fixture(scope="module")
def table(record_set):
    """All records, every seventh of an unknown patient."""
    rows = mixture.read_sets(str(record_set))
    return rows.assign(patient_id=rows["patient_id"].where(np.arange(len(rows)) % 7 > 0, ""))


@pytest.fixture(scope="module")
def plan(table):
    return patient_bags.fit_samples_per_epoch(mixture.plan_fold(table, None), SIZE)


def stream(plan, count, batch_size=SIZE, **options):
    """Returns batches of images, of row numbers instead of labels, and of seeds."""
    names = [name for name in options if name in ("start", "num_workers", "worker")]
    order = record_stream.StreamOptions(shuffle_buffer=16, bag_size=SIZE, **{name: options.pop(name) for name in names})
    dataset = input_pipeline.make_train_dataset(
        plan.rows,
        plan.samples_per_epoch,
        batch_size=batch_size,
        labels=np.arange(len(plan.rows))[:, None],
        stream=order,
        **{"image_size": 32, "seed": 5, "threads": 2, **options},
    )
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def places_of(found):
    return [[int(place) for place in places[:, 0]] for _, places, _ in found]


def same(one, other):
    return all(np.array_equal(*pair) for parts in zip(one, other, strict=True) for pair in zip(*parts, strict=True))


def test_bags_hold_a_patients_lesions_and_an_epoch_each_record_once(plan):
    count, codes = plan.size // SIZE, patient_bags.encode_patients(plan.rows)
    found = places_of(stream(plan, 2 * count))
    epochs_of_two = found[:count], found[count:]
    for epoch in epochs_of_two:
        members = [place for bag in epoch for place in bag]
        assert len(set(members)) == len(members) == plan.size > len(codes) - SIZE
        # All that a patient has of whole bags is in bags of its own; each has at most that many.
        own = [codes[bag[0]] for bag in epoch if len(set(codes[bag])) == 1]
        sampled = np.bincount(codes[members][codes[members] >= 0])
        assert (np.bincount([code for code in own if code >= 0], minlength=len(sampled)) >= sampled // SIZE).all()
        assert len(own) < count
    # Another epoch combines other lesions, and has its bags in another order.
    assert not {frozenset(bag) for bag in epochs_of_two[0]} & {frozenset(bag) for bag in epochs_of_two[1]}
    left_out = [set(range(len(codes))) - {place for bag in epoch for place in bag} for epoch in epochs_of_two]
    assert all(len(left) == len(codes) - plan.size for left in left_out)


def test_a_stream_of_bags_that_starts_later_is_the_rest_of_the_same_one(plan):
    whole = stream(plan, 30, 2 * SIZE, threads=4)
    # In the first epoch and in the second.
    for step in (5, 23):
        assert same(whole[step:], stream(plan, 30 - step, 2 * SIZE, start=2 * SIZE * step))


def test_a_cache_changes_no_bag(plan, table):
    images = image_cache.open_images(table, "memory", 32, 2)
    assert same(stream(plan, 20), stream(plan, 20, images=images))


def test_workers_share_the_stream_by_whole_bags(plan):
    whole = places_of(stream(plan, 10))
    shares = [places_of(stream(plan, 5, num_workers=2, worker=worker)) for worker in (0, 1)]
    assert [whole[0::2], whole[1::2]] == shares


def test_bags_are_planned_by_hand():
    # Patients of 3, 4, 1 and (unknown) 2 records in bags of 2: two rests, which share a bag.
    rows = pd.DataFrame({"patient_id": ["a", "b", "", "a", "b", "c", "b", "", "a", "b"]})
    order = tf.data.Dataset.from_tensor_slices(([0, 1, 2, 3, 4, 5, 6, 7, 8, 9], list("abcdefghij")))
    order = order.map(lambda row, data: (tf.cast(row, tf.int64), data))
    found = patient_bags.arrange_bags(order, rows, tf.ones(10, tf.int64), 2, 0, tf.constant(0, tf.int64))
    assert [rows.tolist() for rows, _ in found.as_numpy_iterator()] == [[0, 3], [1, 4], [2, 7], [5, 8], [6, 9]]


@pytest.fixture
def small(monkeypatch):
    return patch_small_classifiers(monkeypatch)


def two_steps(strategy, plan, **changes):
    """Returns the summed loss of two steps of SGD, and each weight's name and change."""
    settings = dataclasses.replace(SET, augment_strength=0.0, **changes)
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        classifier = classifiers.build_classifier("efficientnet-b0", 32, **settings.head_options())
        optimizer = tf.keras.optimizers.SGD(0.1)
        optimizer.build(classifier.trainable_variables)
    counts = {"step": tf.Variable(0, dtype=tf.int64), "loss": tf.Variable(0.0), "gradient_norm": tf.Variable(0.0)}
    counts["bad_step"] = tf.Variable(-1, dtype=tf.int64)
    state = tf.train.Checkpoint(model=classifier, optimizer=optimizer, others=[], averages=[], **counts)
    before = [weight.numpy() for weight in classifier.weights]
    batches = distributed_input.make_batches(strategy, plan, None, settings, start=0)
    train_step.make_train_step(strategy, state, settings)(batches, 2)
    changes = [(one.name, one.numpy() - old) for one, old in zip(classifier.weights, before, strict=True)]
    return float(state.loss), changes


def test_two_devices_and_parts_of_a_batch_take_the_steps_of_one_device(plan, small, mirrored):
    loss, changes = two_steps(tf.distribute.get_strategy(), plan)
    for part in ("convolution/kernel", "logits/kernel", "embedding/kernel", "correction/kernel"):
        assert max(np.abs(change).max() for name, change in changes if part in name) > 1e-5, part
    for strategy, options in ((mirrored, {}), (tf.distribute.get_strategy(), {"gradient_accumulation_steps": 2})):
        other_loss, others = two_steps(strategy, plan, **options)
        assert other_loss == pytest.approx(loss, abs=1e-5)
        for (name, change), (_, other) in zip(changes, others, strict=True):
            assert np.abs(change - other).max() < 1e-5, name


@pytest.mark.parametrize("changes", [{"target": "diagnosis", "metadata": "age,sex"}, {"loss": "auc"}])
def test_both_stages_are_trained_whatever_the_head(record_set, small, changes):
    settings = dataclasses.replace(SET, threads=2, **changes)
    rows, plans, _ = fold_setup.plan_folds(mixture.read_sets(str(record_set)), [0], settings)
    assert len(rows) > plans[0].size
    loss, weights = two_steps(tf.distribute.get_strategy(), plans[0], **changes)
    assert 0 < loss < 20
    for part in ("logits/kernel", "correction/kernel"):
        assert max(np.abs(change).max() for name, change in weights if part in name) > 1e-6, part


def test_averages_of_the_second_stage_are_those_of_its_own_weights(small):
    settings, strategy = dataclasses.replace(SET, ema=0.9), tf.distribute.get_strategy()
    state = train_state.make_state(strategy, settings, 3)
    evaluated = train_state.make_evaluated(strategy, state, settings)
    for number, weight in enumerate(ema.averaged_weights(state.model)):
        weight.assign(tf.fill(weight.shape, float(number)))
        state.averages[number].assign(weight)
    ema.copy_averages(state, evaluated)
    assert all(np.array_equal(*pair) for pair in zip(evaluated.get_weights(), state.model.get_weights(), strict=True))


def test_dropout_of_the_second_stage_is_in_the_checkpoint(monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    plain, context = (
        len(train_state.make_state(tf.distribute.get_strategy(), settings, 3).dropout)
        for settings in (make_config(), SET)
    )
    # Two blocks of attention weights, of what attention adds, and of what the dense layers add.
    assert context - plain == 6


@pytest.mark.parametrize(
    ("changes", "replicas", "message"),
    [
        ({"global_batch_size": 12}, 2, r"divisible by 8 .2 replicas x bags of 4., got 12; use --global_batch_size=16"),
        (
            {"gradient_accumulation_steps": 2, "global_batch_size": 8},
            2,
            r"divisible by 16 .2 replicas x 2 micro-batches x bags of 4., got 8; .*=16",
        ),
        (
            {"augment_policy": "strong"},
            1,
            "expected an --augment_policy without .*mixup with --context=set, got strong: a mix",
        ),
        ({"malignant_oversampling": 2}, 1, "expected --malignant_oversampling=1 and --balance=0 with --context=set"),
        ({"balance": 0.5}, 1, "expected --malignant_oversampling=1 and --balance=0 with --context=set"),
    ],
)
def test_options_that_do_not_fit_bags_are_refused(changes, replicas, message):
    config_checks.check_bags(SET, 1)
    with pytest.raises(ValueError, match=message):
        config_checks.check_bags(dataclasses.replace(SET, **changes), replicas)


def test_plans_that_do_not_fit_bags_are_refused(table):
    with pytest.raises(ValueError, match="expected weights up to 1 in --mix with --context=set"):
        patient_bags.fit_samples_per_epoch(mixture.plan_fold(table, None, malignant_oversampling=2), SIZE)
    with pytest.raises(
        ValueError, match=r"expected a bag of 64 records or more to train on, got \d+; lower --bag_size"
    ):
        patient_bags.fit_samples_per_epoch(mixture.plan_fold(table.iloc[:10], None), 64)


def test_the_text_of_a_plan_of_bags_counts_images_without_another_of_their_patient(table, plan):
    rows = table.iloc[:9].assign(patient_id=list("aaabbb") + ["c", "", ""])
    found = patient_bags.fit_samples_per_epoch(mixture.plan_fold(rows, None), SIZE)
    assert found.text.endswith("  2 bags of 4 per epoch; 3 images have no other of their patient")
    assert found.size == 8
    assert (found.samples_per_epoch >= 0).all()
