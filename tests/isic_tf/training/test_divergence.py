import re

import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.data import mixture
from isic_tf.training import divergence
from tfrecord_tools import errors


@pytest.fixture
def plan(record_set):
    return mixture.plan_fold(mixture.read_sets(str(record_set)), 0)


def make_state(bad_step):
    return tf.train.Checkpoint(bad_step=tf.Variable(bad_step, dtype=tf.int64))


def test_training_that_has_not_diverged_is_accepted(plan):
    divergence.check_divergence(make_state(-1), plan, make_config(), "fold0", None)


def test_the_error_names_step_images_checkpoint_and_remedy(plan):
    config = make_config(global_batch_size=2)
    names = divergence.name_batch(plan.rows, plan.samples_per_epoch, config, 3)
    assert len(names) == 2
    with pytest.raises(errors.DivergenceError, match=re.escape("fold0 diverged at step 3: the loss is not finite or")):
        divergence.check_divergence(make_state(3), plan, config, "fold0", None)
    for checkpoint, text in ((None, "There is no checkpoint yet."), ("run/ckpt-7", "The last good .* is run/ckpt-7.")):
        with pytest.raises(
            errors.DivergenceError, match=f"Batch: {', '.join(names)}. {text} Inspect .* lower --learning"
        ):
            divergence.check_divergence(make_state(3), plan, config, "fold0", checkpoint)


def test_a_long_list_of_images_is_cut_off(plan):
    config = make_config(global_batch_size=70)
    with pytest.raises(errors.DivergenceError) as caught:
        divergence.check_divergence(make_state(1), plan, config, "fold0", None)
    assert " and 6 more. There is no checkpoint yet" in str(caught.value)


def test_batches_are_consecutive_parts_of_the_stream(plan):
    # The order does not depend on the size of the batch.
    pairs = [
        name
        for step in (1, 2, 3, 4)
        for name in divergence.name_batch(plan.rows, plan.samples_per_epoch, make_config(global_batch_size=2), step)
    ]
    eight = divergence.name_batch(plan.rows, plan.samples_per_epoch, make_config(global_batch_size=8), 1)
    assert pairs == eight
