import json
import os
import pathlib
import signal

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.artifacts import fold_results, kept_weights, run_directory
from isic_tf.data import mixture
from isic_tf.training import checkpointing
from isic_tf.training.fold_setup import Fold
from tfrecord_tools import errors


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


@pytest.mark.parametrize("content", [b"", b"garbage", b'model_checkpoint_path: "ckpt-9"\n', None])
def test_a_lost_list_of_checkpoints_stops_no_run_and_old_checkpoints_are_still_removed(saved, content):
    listing = saved / "checkpoint"
    listing.unlink() if content is None else listing.write_bytes(content)
    state = tf.train.Checkpoint(step=tf.Variable(0))
    checkpointing.restore(state, run_directory.find_checkpoints(str(saved)))
    assert int(state.step) == 22
    with checkpointing.saving(state, str(saved), 10, tf.distribute.get_strategy()) as (save, _):
        save()
    assert run_directory.find_checkpoints(str(saved)) == [str(saved / "ckpt-4"), str(saved / "ckpt-3")]


def test_wildcards_in_the_name_of_a_directory_lose_no_checkpoint(tmp_path):
    directory = tmp_path / "b0, [2] *"
    state = tf.train.Checkpoint(step=tf.Variable(7))
    with checkpointing.saving(state, str(directory), 10, tf.distribute.get_strategy()) as (save, _):
        paths = [save() for _ in range(3)]
    assert paths[0] == str(directory / "ckpt-1")
    assert sorted(path.name for path in directory.glob("ckpt*.index")) == ["ckpt-2.index", "ckpt-3.index"]
    assert len(list(directory.glob("ckpt*.data*"))) == 2
    state.step.assign(0)
    checkpointing.restore(state, run_directory.find_checkpoints(str(directory)))
    assert int(state.step) == 7


def test_a_list_of_checkpoints_that_are_gone_stops_no_run(saved):
    for path in saved.glob("ckpt-*"):
        path.unlink()
    (saved / "checkpoint").write_bytes(b"")
    with checkpointing.saving(tf.train.Checkpoint(), str(saved), 10, tf.distribute.get_strategy()) as (save, _):
        save()
    assert len(run_directory.find_checkpoints(str(saved))) == 1


def make_training(epoch, step, history=""):
    """The state of a network with one weight of 3."""
    inputs = tf.keras.Input((1,))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs))
    network.set_weights([np.array([[3.0]])])
    return tf.train.Checkpoint(
        model=network,
        averages=[],
        epoch=tf.Variable(epoch, dtype=tf.int64),
        step=tf.Variable(step, dtype=tf.int64),
        history=tf.Variable(history),
    )


HISTORY = [{"epoch": 1, "loss": 0.5, "auc": 0.7}, {"epoch": 2, "loss": 0.25, "auc": 0.75}]


@pytest.fixture
def make_fold(tmp_path):
    """Makes a fold of 4 steps an epoch, whose two epochs are in its history."""
    run_directory.write_history(str(tmp_path / "fold0"), HISTORY)

    def make(**changes):
        rows = pd.DataFrame({"image_name": ["a"]})
        plan = mixture.Plan(rows, np.array([8]), rows, "")
        config = make_config(global_batch_size=2, **changes)
        directory = str(tmp_path / "fold0")
        return Fold(plan, config, tf.distribute.get_strategy(), directory, directory)

    return make


def test_a_checkpoint_of_release_0_1_holds_no_history_and_is_restored(tmp_path):
    old = tf.train.Checkpoint(step=tf.Variable(7))
    path = old.save(str(tmp_path / "ckpt"))
    state = tf.train.Checkpoint(step=tf.Variable(0), history=tf.Variable(""))
    checkpointing.restore(state, [path])
    assert (int(state.step), state.history.numpy()) == (7, b"")
    state.history.assign(json.dumps(HISTORY))
    path = state.save(str(tmp_path / "ckpt"))
    fresh = tf.train.Checkpoint(step=tf.Variable(0), history=tf.Variable(""))
    checkpointing.restore(fresh, [path])
    assert json.loads(fresh.history.numpy()) == HISTORY


@pytest.mark.parametrize("step", [8, 9, 12])
def test_a_lost_history_is_written_again_from_the_checkpoint(make_fold, step, capsys):
    fold = make_fold()
    state = make_training(2, step, json.dumps(HISTORY))
    assert checkpointing.restore_history(fold, state, is_resumed=True) == HISTORY
    assert capsys.readouterr().out == ""
    run_directory.write_history(fold.directory, HISTORY[:1])
    assert checkpointing.restore_history(fold, state, is_resumed=True) == HISTORY
    assert run_directory.read_history(fold.directory) == HISTORY
    assert "history.csv has 1 epochs, which are not the 2 of the checkpoint" in capsys.readouterr().out


def test_the_history_of_a_run_of_release_0_1_is_taken_into_its_checkpoints(make_fold):
    state = make_training(2, 8)
    assert checkpointing.restore_history(make_fold(), state, is_resumed=True) == HISTORY
    assert json.loads(state.history.numpy()) == HISTORY


@pytest.mark.parametrize("step", [0, 7, 13])
def test_a_step_that_is_not_of_the_epoch_is_refused(make_fold, step):
    message = f"expected a step of epoch 3, whose steps are 9 to 12, got {step}; remove .*fold0 to train"
    with pytest.raises(errors.CorruptRecordError, match=message):
        checkpointing.restore_history(make_fold(), make_training(2, step), is_resumed=True)


def test_without_a_checkpoint_only_a_finished_fold_has_a_history(make_fold):
    fold = make_fold()
    with pytest.raises(errors.CorruptRecordError, match="expected a checkpoint in"):
        checkpointing.restore_history(fold, make_training(0, 0), is_resumed=False)
    pathlib.Path(fold.directory, "metrics.json").write_text("{}")
    assert checkpointing.restore_history(fold, make_training(0, 0), is_resumed=False) == HISTORY


def kept_number(fold):
    network = make_training(0, 0).model
    network.load_weights(os.path.join(fold.directory, "best.weights.h5"))
    return float(network.get_weights()[0][0, 0])


@pytest.mark.parametrize("damage", ["lost", "changed", "other epoch"])
def test_lost_weights_of_the_last_epoch_are_kept_again(make_fold, damage, capsys):
    fold = make_fold()
    state = make_training(2, 8)
    path = pathlib.Path(fold.directory, "best.weights.h5")
    if damage != "lost":
        fold_results.keep_weights(fold.directory, state.model, True, 2 if damage == "changed" else 1)
    if damage == "changed":
        path.write_bytes(path.read_bytes() + b"x")
    checkpointing.restore_weights(fold, state, state.model, HISTORY)
    assert kept_number(fold) == 3
    assert kept_weights.check_digest(str(path)) == 2
    assert "kept again from the checkpoint, which holds them" in capsys.readouterr().out
    checkpointing.restore_weights(fold, state, state.model, HISTORY)
    assert capsys.readouterr().out == ""


def test_lost_weights_of_an_earlier_epoch_are_refused(make_fold):
    better_first = [{**HISTORY[0], "auc": 0.9}, HISTORY[1]]
    message = r"expected the weights of epoch 1 in .*best.weights.h5, found no such file; restore it .* remove .*fold0"
    with pytest.raises(errors.CorruptRecordError, match=message):
        checkpointing.restore_weights(make_fold(), make_training(2, 8), None, better_first)
    # Those of the last epoch too, once the checkpoint is within the next.
    with pytest.raises(errors.CorruptRecordError, match="expected the weights of epoch 2 in"):
        checkpointing.restore_weights(make_fold(), make_training(2, 9), None, HISTORY)


def test_lost_weights_that_a_later_epoch_replaces_are_noted(make_fold, capsys):
    checkpointing.restore_weights(make_fold(keep_weights="last"), make_training(2, 9), None, HISTORY)
    assert "found no such file; those of a later epoch will take their place" in capsys.readouterr().out
    with pytest.raises(errors.CorruptRecordError, match="expected the weights of epoch 2 in"):
        checkpointing.restore_weights(make_fold(keep_weights="last", epochs=2), make_training(2, 9), None, HISTORY)
