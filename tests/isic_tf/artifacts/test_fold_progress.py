import json

import pandas as pd
import pytest

from isic_tf.artifacts import fold_progress, fold_results, kept_weights, run_directory
from tfrecord_tools import errors

# The best of three epochs is the second.
HISTORY = [
    {"epoch": 1, "loss": 0.5, "auc": 0.7},
    {"epoch": 2, "loss": 0.25, "auc": 1 / 3 + 0.5},
    {"epoch": 3, "loss": 0.125, "auc": 0.8},
]
RECORDED = json.dumps(HISTORY)
# Of the four pairs of a malignant and a benign image, three are in the right order.
HELD_OUT = pd.DataFrame(
    {"image_name": list("abcd"), "patient_id": list("pqrs"), "prediction": [0.1, 0.3, 0.2, 0.4], "fold": 0}
).assign(target=[0, 0, 1, 1])


@pytest.fixture
def fold(tmp_path):
    """A fold that is trained to the end."""
    directory = str(tmp_path / "fold0")
    (tmp_path / "new").write_text("weights")
    kept_weights.replace_weights(f"{directory}/best.weights.h5", str(tmp_path / "new"), epoch=2)
    run_directory.write_history(directory, HISTORY)
    fold_results.finish_fold(directory, HELD_OUT, HISTORY)
    return tmp_path / "fold0"


@pytest.mark.parametrize(("keep", "epoch"), [("best", 2), ("last", 3)])
def test_the_kept_epoch_is_the_first_best_or_the_last(keep, epoch):
    assert fold_progress.kept_epoch([*HISTORY[:2], {**HISTORY[1], "epoch": 3}], keep) == epoch
    assert fold_progress.kept_epoch([{"epoch": 1, "loss": 1.0}, {"epoch": 2, "loss": 2.0}], keep) == 2


def test_a_whole_history_is_that_of_the_checkpoint(fold, capsys):
    for recorded in (RECORDED, ""):
        assert fold_progress.restore_history(str(fold), 3, recorded) == (HISTORY, False)
    # Killed between the history and the checkpoint.
    assert fold_progress.restore_history(str(fold), 2, json.dumps(HISTORY[:2])) == (HISTORY[:2], False)
    assert capsys.readouterr().out == ""


def lose(fold, damage):
    path = fold / "history.csv"
    lines = path.read_text().splitlines(keepends=True)
    if damage == "file":
        path.unlink()
    elif damage == "all rows":
        path.write_text(lines[0])
    elif damage == "last row":
        path.write_text("".join(lines[:-1]))
    elif damage == "middle row":
        path.write_text("".join([*lines[:2], *lines[3:]]))
    elif damage == "half a row":
        path.write_text("".join(lines)[:-3].rsplit(",", 1)[0])
    elif damage == "number":
        path.write_text("".join(lines).replace("0.25", "0.2x"))
    else:
        path.write_bytes(b"\xff\x00")


DAMAGES = ["file", "all rows", "last row", "middle row", "half a row", "number", "garbage"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_history_that_lost_something_is_that_of_the_checkpoint_again(fold, capsys, damage):
    lose(fold, damage)
    assert fold_progress.restore_history(str(fold), 3, RECORDED) == (HISTORY, True)
    out = capsys.readouterr().out
    assert out.startswith("note: ")
    assert "history.csv" in out
    assert "its epochs are those of the checkpoint now\n" in out


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_history_that_lost_something_is_refused_where_the_checkpoint_holds_none(fold, damage):
    lose(fold, damage)
    with pytest.raises(errors.IsicError, match=rf"history.csv.*; restore it.* remove {fold} to train the fold again"):
        fold_progress.restore_history(str(fold), 3, "")


def test_epochs_after_an_older_checkpoint_are_noted(fold, capsys):
    assert fold_progress.restore_history(str(fold), 1, "") == (HISTORY[:1], False)
    assert "history.csv has 3 epochs, but the newest intact checkpoint has 1; those after it" in capsys.readouterr().out


def test_a_history_of_several_epochs_without_a_checkpoint_is_refused(fold):
    with pytest.raises(
        errors.CorruptRecordError, match=r"expected a checkpoint in .*fold0/checkpoints, because history"
    ):
        fold_progress.refuse_lost_checkpoints(str(fold))
    # Stopped before the first checkpoint.
    run_directory.write_history(str(fold), HISTORY[:1])
    fold_progress.refuse_lost_checkpoints(str(fold))
    (fold / "history.csv").unlink()
    fold_progress.refuse_lost_checkpoints(str(fold))


def test_kept_weights_are_held_against_the_history(fold):
    find = fold_progress.find_weights_problem
    assert find(str(fold), HISTORY, "best") == find(str(fold), [], "best") == ""
    # A later epoch was kept before its checkpoint was written.
    assert find(str(fold), HISTORY[:1], "best") == ""
    assert "expected the weights of epoch 3 in" in find(str(fold), HISTORY, "last")
    assert "found those of epoch 2" in find(str(fold), HISTORY, "last")
    (fold / "best.weights.h5").write_text("changed")
    assert "best.weights.h5 is damaged: expected the SHA-256" in find(str(fold), HISTORY, "best")
    (fold / "best.weights.h5").unlink()
    problem = find(str(fold), HISTORY, "best")
    assert problem.endswith("best.weights.h5, found no such file")
    with pytest.raises(errors.CorruptRecordError, match=f"found no such file; restore it .* remove {fold} to train"):
        fold_progress.refuse_lost_weights(str(fold), problem)
    fold_progress.refuse_lost_weights(str(fold), "")


def test_whole_results_have_no_problem(fold):
    assert fold_progress.find_result_problem(str(fold), "best") == ""
    # As of a run of release 0.1.
    (fold / "best.weights.h5.json").unlink()
    assert fold_progress.find_result_problem(str(fold), "best") == ""


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("oof.csv", None, "oof.csv is missing"),
        ("oof.csv", "image_name,prediction,fold,target\na,0.1,0,0\n", "oof.csv has 1 images, but metrics.json 4"),
        ("oof.csv", "image_name,prediction,fold,target\na,0.1,0,x\n", "oof.csv is damaged"),
        ("oof.csv", "", "oof.csv is damaged"),
        (
            "oof.csv",
            "image_name,prediction,fold,target\na,.1,0,0\nb,.1,0,0\nc,.2,0,1\nd,.4,0,1\n",
            "oof.csv has another ROC AUC than metrics.json",
        ),
        ("history.csv", None, "history.csv has 0 epochs, but metrics.json 3"),
        ("history.csv", "x", "history.csv"),
        ("best.weights.h5", None, "found no such file"),
        ("metrics.json", "{}", "history.csv has 3 epochs, but metrics.json 0"),
    ],
)
def test_results_that_are_lost_or_of_something_else_are_named(fold, name, content, problem):
    (fold / name).unlink() if content is None else (fold / name).write_text(content)
    assert problem in fold_progress.find_result_problem(str(fold), "best")
