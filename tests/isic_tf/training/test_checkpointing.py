import os
import pathlib
import signal

import pytest
import tensorflow as tf

from isic_tf.artifacts import run_directory
from isic_tf.training import checkpointing


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
def test_the_checkpoint_before_a_damaged_one_is_restored_and_this_is_logged(saved, damage, capsys):
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
    with pytest.raises(ValueError, match="expected an intact checkpoint in .*, but all 2 are damaged; remove"):
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
    assert "asked to stop; run the same command to resume" in capsys.readouterr().out


def test_a_state_that_must_not_be_saved_is_not(tmp_path):
    def check():
        raise ValueError("diverged")

    state, alone = tf.train.Checkpoint(step=tf.Variable(7)), tf.distribute.get_strategy()
    with (
        pytest.raises(ValueError, match="diverged"),
        checkpointing.saving(state, str(tmp_path), 10, alone, check) as saver,
    ):
        saver.pause(0, 9)
        saver.pause(9, 10)
    assert run_directory.find_checkpoints(str(tmp_path)) == []


def test_without_checkpoints_the_state_is_left_as_it_is():
    state = tf.train.Checkpoint(step=tf.Variable(7))
    checkpointing.restore(state, [])
    assert int(state.step) == 7
