import dataclasses

import pandas as pd
import pytest

import isic_tf
from isic_tf.artifacts import fold_results, run_directory
from isic_tf.metrics import cluster_bootstrap
from isic_tf.training import run_result
from isic_tf.training.dry_run import training_estimate
from tfrecord_tools import errors


def make_run(workdir, index, folds):
    """Writes a run whose predictions are 0.9 of malignant and 0.2 of benign images; returns its result."""
    run_directory.claim(str(workdir), {"image_size": 32}, (), index)
    for fold in folds:
        directory = run_directory.fold_dir(str(workdir), fold)
        held_out = index[index["fold"] == fold]
        table = held_out.assign(prediction=0.2 + 0.7 * held_out["target"]) if fold is not None else None
        history = [{"epoch": 1, "loss": 0.5, **({} if table is None else {"auc": 1.0})}]
        run_directory.write_history(directory, history)
        fold_results.finish_fold(directory, table, history)
        fold_results.merge_folds(str(workdir), index)
    return run_result.RunResult(str(workdir))


def test_the_result_of_one_fold(tmp_path, index):
    result = make_run(tmp_path, index, [0])
    held_out = index[index["fold"] == 0]
    assert result.folds == ("fold0",)
    assert result.run.workdir == str(tmp_path)
    assert result.metrics == result.fold_metrics["fold0"]
    assert result.metrics["images"] == len(held_out)
    assert result.roc_auc == 1.0
    assert result.roc_auc_interval == (result.metrics["auc_low"], result.metrics["auc_high"])
    expected = held_out.assign(prediction=0.2 + 0.7 * held_out["target"])[list(result.out_of_fold)]
    pd.testing.assert_frame_equal(result.out_of_fold, expected.reset_index(drop=True))
    assert repr(result) == (f"RunResult(workdir='{tmp_path}', folds=('fold0',), roc_auc=1.0000, roc_auc_interval=None)")


def test_the_metrics_of_several_folds_are_those_of_all_images_together(tmp_path, index):
    result = make_run(tmp_path, index, [0, 1])
    assert result.folds == ("fold0", "fold1")
    assert result.fold_metrics.keys() == {"fold0", "fold1"}
    assert result.metrics["folds"] == 2
    assert result.metrics["images"] == len(index) == len(result.out_of_fold)
    # Of five patients.
    assert "roc_auc=1.0000, roc_auc_interval=None" in repr(result)


def test_a_run_of_enough_patients_has_an_interval(tmp_path, index, monkeypatch):
    monkeypatch.setattr(cluster_bootstrap, "MIN_PATIENTS", 2)
    assert "roc_auc=1.0000, roc_auc_interval=(1.0000, 1.0000)" in repr(make_run(tmp_path, index, [0, 1]))


def test_a_run_that_holds_nothing_out_has_no_auc(tmp_path, index):
    result = make_run(tmp_path, index, [None])
    assert result.folds == ("full",)
    assert result.metrics == {"epochs": 1, "loss": 0.5}
    for name in ("roc_auc", "roc_auc_interval"):
        with pytest.raises(
            errors.IsicError, match="has no ROC AUC, because --fold=full holds nothing out; train a fold"
        ):
            getattr(result, name)
    with pytest.raises(errors.IsicError, match="no out-of-fold predictions in"):
        _ = result.out_of_fold
    assert repr(result) == f"RunResult(workdir='{tmp_path}', folds=('full',))"


def test_a_dry_run_has_an_estimate_and_no_run(tmp_path):
    values = {field.name: 1 for field in dataclasses.fields(training_estimate.TrainingEstimate)}
    result = run_result.RunResult(str(tmp_path), training_estimate.TrainingEstimate(**values))
    assert result.folds == ()
    assert result.fold_metrics == {}
    assert result.estimate.total_seconds == 1 + 1 + 1 + 1 + 2 + 1
    for name in ("run", "metrics", "roc_auc", "out_of_fold"):
        with pytest.raises(errors.IsicError, match="a dry run writes no run directory; train with dry_run=False"):
            getattr(result, name)
    assert repr(result).startswith(f"RunResult(workdir='{tmp_path}', estimate=TrainingEstimate(images_per_epoch=1, ")


def test_a_result_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        isic_tf.RunResult("run").workdir = "other"
