import pytest
import tensorflow as tf

from isic_tf.training import epochs


def make_state(epoch=0, step=0, loss=0.0, norm=0.0):
    return tf.train.Checkpoint(
        epoch=tf.Variable(epoch, dtype=tf.int64),
        step=tf.Variable(step, dtype=tf.int64),
        loss=tf.Variable(loss),
        gradient_norm=tf.Variable(norm),
    )


def make_step(state, counts):
    """A step that waits a quarter of a second for input, has a loss of 2 and a gradient norm of 4."""

    def step(batches, count):
        counts.append(count)
        state.step.assign_add(count)
        state.loss.assign_add(2.0 * count)
        state.gradient_norm.assign_add(4.0 * count)
        return tf.constant(0.25 * count, tf.float64)

    return step


def test_the_steps_of_an_epoch_worked_by_hand():
    state, counts = make_state(), []
    result = epochs.run_epoch(make_step(state, counts), state, None, 5, "fold0 epoch 1")
    assert counts == [1] * 5
    assert result == ({"loss": 2.0, "gradient_norm": 4.0}, 5, 1.25)


def test_steps_are_run_in_chunks_with_pauses_between_them():
    state, counts, paused = make_state(), [], []
    pauses = (lambda before, now: paused.append((before, now)),)
    epochs.run_epoch(make_step(state, counts), state, None, 5, "", chunk=2, pauses=pauses)
    assert counts == [2, 2, 1]
    assert paused == [(0, 2), (2, 4), (4, 5)]


def test_an_interrupted_epoch_runs_its_remaining_steps_and_averages_over_all():
    # The second epoch of 10 steps, resumed after its sixth, whose losses of 7 are in the sum.
    state, counts = make_state(epoch=1, step=16, loss=42.0, norm=24.0), []
    result = epochs.run_epoch(make_step(state, counts), state, None, 10, "")
    assert counts == [1] * 4
    assert result.steps == 4
    assert result.means == {"loss": (42 + 8) / 10, "gradient_norm": (24 + 16) / 10}


def test_an_epoch_that_was_interrupted_after_its_last_step_runs_none():
    state, counts = make_state(step=3, loss=6.0), []
    result = epochs.run_epoch(make_step(state, counts), state, None, 3, "")
    assert counts == []
    assert (result.steps, result.waited, result.means["loss"]) == (0, 0.0, 2.0)


def test_divergence_is_checked_every_hundred_steps_and_at_the_end():
    state, counts, checked = make_state(), [], []
    check = lambda: checked.append(int(state.step))  # noqa: E731
    epochs.run_epoch(make_step(state, counts), state, None, 250, "", chunk=30, check=check)
    assert checked == [120, 210, 250]


def test_an_error_of_the_check_ends_the_epoch():
    def check():
        raise ValueError("diverged")

    state, counts = make_state(), []
    with pytest.raises(ValueError, match="diverged"):
        epochs.run_epoch(make_step(state, counts), state, None, 300, "", check=check)
    assert len(counts) == 100


def test_the_line_of_an_epoch():
    history = [{"epoch": 1, "loss": 0.5, "auc": 0.84564}, {"epoch": 2, "loss": 0.12344, "auc": 0.8}]
    expected = "fold0 epoch 2/3  loss 0.1234  auc 0.8000  best 0.8456  310 images/s"
    assert epochs.describe_epoch("fold0", 3, history, 309.6) == expected
    assert epochs.describe_epoch("full", 3, [{"epoch": 1, "loss": 1}], 5) == "full epoch 1/3  loss 1.0000  5 images/s"
