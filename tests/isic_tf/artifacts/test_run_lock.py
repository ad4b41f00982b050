import os

import pytest

from isic_tf.artifacts import run_lock
from tfrecord_tools import errors
from tfrecord_tools.io import output_lock


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_folds_of_one_configuration_are_trained_at_the_same_time(tmp_path):
    shared = []
    with run_lock.claimed(str(tmp_path), [str(tmp_path / "fold0")], shared.append):
        assert names(tmp_path) == [".lock-fold0"]
        with run_lock.claimed(str(tmp_path), [str(tmp_path / "fold1"), str(tmp_path / "full")], shared.append):
            assert names(tmp_path) == [".lock-fold0", ".lock-fold1", ".lock-full"]
            with run_lock.updating(str(tmp_path)):
                assert ".lock-flags.txt" in names(tmp_path)
        with run_lock.claimed(str(tmp_path), [], shared.append):
            pass
    assert shared == [False, True, True]
    assert names(tmp_path) == []


def test_a_fold_that_another_process_trains_is_refused_before_its_flags_are_compared(tmp_path):
    def refuse(_):
        raise AssertionError

    fold = str(tmp_path / "fold0")
    with output_lock.locked(fold):
        message = f"expected {fold} to be free, but process {os.getpid()} on .* is writing it"
        for attempt in (
            lambda: run_lock.refuse_others([str(tmp_path / "fold1"), fold]),
            run_lock.claimed(str(tmp_path), [fold], refuse).__enter__,
        ):
            with pytest.raises(errors.ConfigError, match=message):
                attempt()
    run_lock.refuse_others([fold])


def test_a_configuration_that_is_refused_leaves_no_lock(tmp_path):
    def refuse(_):
        raise errors.ConfigError("another configuration")

    folds = [str(tmp_path / "run" / "fold0"), str(tmp_path / "run" / "fold1")]
    with pytest.raises(errors.ConfigError, match="another configuration"):
        run_lock.claimed(str(tmp_path / "run"), folds, refuse).__enter__()
    assert names(tmp_path) == []


def test_a_file_in_place_of_the_run_directory_is_an_error_with_a_remedy(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(
            errors.IsicError, match=f"^expected to be able to write {path}, got: .*; choose another path"
        ):
            run_lock.claimed(str(path), [], print).__enter__()


def test_what_a_killed_training_left_in_a_fold_is_removed(tmp_path):
    checkpoints = tmp_path / "fold0" / "checkpoints"
    (checkpoints / "ckpt-3_temp").mkdir(parents=True)
    kept = ["checkpoint", "ckpt-2.data-00000-of-00001", "ckpt-2.index"]
    left = ["ckpt-3.data-00000-of-00001.tempstate81985529216486895", "checkpoint.tmp0123456789abcdef"]
    for name in kept + left:
        (checkpoints / name).touch()
    old = tmp_path / "fold0" / ".tmp-7-history.csv"
    old.touch()
    os.utime(old, (1, 1))
    with run_lock.claimed(str(tmp_path), [str(tmp_path / "fold0")], lambda _: None):
        assert names(checkpoints) == kept
        assert names(tmp_path / "fold0") == ["checkpoints"]
