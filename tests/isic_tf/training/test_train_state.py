import os
import pathlib
import signal

import numpy as np
import pytest
import tensorflow as tf
from harness import make_config, train_apart

from isic_tf.artifacts import run_directory
from isic_tf.training import checkpointing, preemption, train_state


def start(record_set, workdir, stop=0, number=0):
    # All that has a state of its own, and all that depends on the place in the data.
    state = {
        "ema": 0.9,
        "freeze_epochs": 1,
        "gradient_accumulation_steps": 2,
        "cache": "memory",
        "augment_policy": "strong",
    }
    process = train_apart(record_set, workdir, stop, number, deterministic=True, save_steps=2, **state)
    output, errors = process.communicate()
    return process.returncode, output, errors


def test_a_run_stopped_at_three_steps_ends_in_the_bits_of_one_that_was_not(record_set, tmp_path):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    code, _, errors = start(record_set, whole)
    assert code == 0, errors
    steps = np.random.default_rng().integers(1, 4, 3)
    print("stopped after", steps)
    # A checkpoint is written every other step: a kill may lose one step, a request to end loses none.
    for stop, number in zip(steps, (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL), strict=True):
        code, output, errors = start(record_set, stopped, stop, number)
        if number == signal.SIGKILL:
            assert code == -signal.SIGKILL
        else:
            assert code == 0, errors
            assert "asked to stop: saved" in output
    code, output, errors = start(record_set, stopped)
    assert code == 0, errors
    assert ", going on after step " in output
    for name in ("history.csv", "oof.csv", "best.weights.h5", "metrics.json"):
        assert (stopped / "fold0" / name).read_bytes() == (whole / "fold0" / name).read_bytes(), name
    final = [
        tf.train.load_checkpoint(run_directory.find_checkpoints(str(run / "fold0" / "checkpoints"))[0])
        for run in (whole, stopped)
    ]
    for name in final[0].get_variable_to_shape_map():
        if not name.startswith(("save_counter", "_CHECKPOINTABLE")):
            assert np.array_equal(*(reader.get_tensor(name) for reader in final)), name


def test_all_dropout_of_a_backbone_goes_on_from_a_checkpoint(tmp_path):
    tf.keras.utils.set_random_seed(0)
    state = train_state.make_state(tf.distribute.get_strategy(), make_config(), 3)
    # Ten layers: that of the head and one of each block that adds its input.
    assert len(state.dropout) == 10
    forward = tf.function(lambda: state.model(tf.ones([4, 32, 32, 3]), training=True))
    state.save(str(tmp_path / "ckpt"))
    first, second = forward().numpy(), forward().numpy()
    checkpointing.restore(state, run_directory.find_checkpoints(str(tmp_path)))
    assert not np.array_equal(first, second)
    assert np.array_equal(first, forward().numpy())


@pytest.fixture
def saved(tmp_path):
    """Three checkpoints of a number, the last two of which are kept."""
    state = tf.train.Checkpoint(step=tf.Variable(0))
    with checkpointing.saving(state, str(tmp_path), 10, tf.distribute.get_strategy()) as (save, pause):
        for before, step in ((0, 10), (10, 15), (15, 22)):
            state.step.assign(step)
            pause(before, step)
        save()
    return tmp_path


def test_the_last_two_checkpoints_are_kept_the_newest_first(saved):
    assert run_directory.find_checkpoints(str(saved)) == [str(saved / "ckpt-3"), str(saved / "ckpt-2")]
    assert run_directory.find_checkpoints(str(saved / "none")) == []


@pytest.mark.parametrize("damage", ["cut", "changed", "lost", "index"])
def test_the_checkpoint_before_a_damaged_one_is_restored_and_this_is_said(saved, damage, capsys):
    state = tf.train.Checkpoint(step=tf.Variable(22))
    state.step.assign(30)
    path = saved / ("ckpt-3.index" if damage == "index" else "ckpt-3.data-00000-of-00001")
    data = bytearray(path.read_bytes())
    if damage == "changed":
        data[0] ^= 255
    if damage == "lost":
        path.unlink()
    else:
        path.write_bytes(data if damage == "changed" else data[: len(data) // 2])
    checkpointing.restore(state, run_directory.find_checkpoints(str(saved)))
    assert int(state.step) == 22
    assert f"{saved}/ckpt-3 cannot be read (" in capsys.readouterr().out


def test_checkpoints_that_are_all_damaged_are_refused(saved):
    for path in saved.glob("*.index"):
        path.write_bytes(b"")
    with pytest.raises(ValueError, match="expected a whole checkpoint in .*, found none; remove it"):
        checkpointing.restore(tf.train.Checkpoint(step=tf.Variable(0)), run_directory.find_checkpoints(str(saved)))


def test_a_request_to_end_between_two_pieces_of_work_saves_and_exits_with_0(tmp_path):
    state = tf.train.Checkpoint(step=tf.Variable(7))
    before = signal.getsignal(signal.SIGTERM)
    alone = tf.distribute.get_strategy()
    with pytest.raises(SystemExit) as ended, checkpointing.saving(state, str(tmp_path), 10, alone) as (_, pause):
        os.kill(os.getpid(), signal.SIGTERM)
        pause()
    assert ended.value.code == 0
    assert pathlib.Path(run_directory.find_checkpoints(str(tmp_path))[0] + ".index").exists()
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_request_to_end_after_the_last_step_is_not_forgotten(tmp_path, capsys):
    state = tf.train.Checkpoint(step=tf.Variable(7))
    with (
        pytest.raises(SystemExit) as ended,
        checkpointing.saving(state, str(tmp_path), 10, tf.distribute.get_strategy()),
    ):
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 0
    assert "asked to stop; the same command goes on" in capsys.readouterr().out


def test_a_request_to_end_while_nothing_is_trained_exits_with_0():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as ended, preemption.exiting_cleanly():
        os.kill(os.getpid(), signal.SIGTERM)
    assert ended.value.code == 0
    assert signal.getsignal(signal.SIGTERM) is before
