import json
import os
import pathlib

import pandas as pd
import pytest

import isic_tf
from isic_tf.artifacts import run, run_directory

METRICS = {"fold0": {"auc": 0.75, "epochs": 2}, "fold1": {"auc": 0.5, "epochs": 2}}


@pytest.fixture
def workdir(tmp_path):
    """A run of three folds, the last of which is still in training."""
    (tmp_path / "flags.txt").write_text("# data_sha256=abc\n--keep=last\n--image_size=64\n")
    for fold in range(3):
        run_directory.write_history(str(tmp_path / f"fold{fold}"), [{"epoch": 1, "loss": 0.5, "auc": 0.75}])
    for fold, metrics in METRICS.items():
        (tmp_path / fold / "metrics.json").write_text(json.dumps(metrics))
    return tmp_path


def test_a_run_is_opened_by_text_path_or_run(workdir):
    opened = run.Run(str(workdir))
    assert opened == run.Run(workdir) == run.Run(opened)
    assert os.fspath(opened) == opened.workdir == str(workdir)
    assert pathlib.Path(opened) == workdir
    assert isic_tf.Run is run.Run


def test_a_directory_without_a_run_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"expected a run in .*, found no flags.txt; check --workdir"):
        run.Run(tmp_path)


def test_flags_are_text_under_their_present_names(workdir):
    assert run.Run(workdir).flags == {"data_sha256": "abc", "keep_weights": "last", "image_size": "64"}


def test_only_folds_that_are_trained_to_the_end_count(workdir):
    opened = run.Run(workdir)
    assert opened.folds == ("fold0", "fold1")
    assert opened.fold_metrics == METRICS
    # A run is read anew each time: the third fold may end meanwhile.
    (workdir / "fold2" / "metrics.json").write_text('{"auc": 1.0}')
    assert opened.folds == ("fold0", "fold1", "fold2")


def test_metrics_are_those_of_all_folds_or_of_the_first(workdir):
    opened = run.Run(workdir)
    assert opened.metrics == METRICS["fold0"]
    (workdir / "metrics.json").write_text('{"folds": 2, "auc": 0.625}')
    assert opened.metrics == {"folds": 2, "auc": 0.625}


def test_a_run_without_results_names_what_to_do(tmp_path):
    (tmp_path / "flags.txt").write_text("--image_size=64\n")
    opened = run.Run(tmp_path)
    assert opened.folds == ()
    with pytest.raises(ValueError, match="no fold is trained to the end in .*; run isic_tf.train"):
        _ = opened.metrics
    with pytest.raises(ValueError, match="no out-of-fold predictions in .*; train a fold with held-out images"):
        _ = opened.out_of_fold


def test_damaged_metrics_are_named(workdir):
    (workdir / "fold1" / "metrics.json").write_text("{")
    with pytest.raises(ValueError, match="fold1/metrics.json does not hold the metrics of a fold .*; restore it"):
        _ = run.Run(workdir).fold_metrics


def test_out_of_fold_predictions_have_types(workdir):
    (workdir / "oof.csv").write_text("image_name,prediction,fold,target\n007,0.25,0,1\nb,0.5,1,0\n")
    table = run.Run(workdir).out_of_fold
    assert table.to_dict("list") == {
        "image_name": ["007", "b"],
        "prediction": [0.25, 0.5],
        "fold": [0, 1],
        "target": [1, 0],
    }
    assert table.dtypes.map(str).tolist()[1:] == ["float64", "int64", "int64"]


def test_the_history_of_a_fold_is_a_table(workdir):
    history = run.Run(workdir).read_history("fold2")
    pd.testing.assert_frame_equal(history, pd.DataFrame({"epoch": [1], "loss": [0.5], "auc": [0.75]}))
    assert run.Run(workdir).read_history("fold7").empty
