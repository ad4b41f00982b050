import re
import time

import numpy as np
import pytest

from isic_tf.metrics import roc
from isic_tf.postprocessing import ensemble_config, ensemble_evaluation, ensembling, out_of_fold


def test_too_few_patients_for_an_interval_are_noted(capsys):
    targets, patients = np.array([1, 1] + [0] * 8), np.array(list("abcdefghij"))
    scores = np.random.default_rng(0).random((10, 2))
    known = out_of_fold.OutOfFold(list("abcdefghij"), scores, targets, patients, np.arange(10) % 2, [])
    ensemble_evaluation.evaluate_ensemble(known, ensembling.Blend("rank_mean"), True, ["one.csv", "two.csv"])
    out = capsys.readouterr().out
    assert re.search(r"^mean +0\.\d+ +0\.\d+ +no interval: 2 patients with a malignant lesion, at", out, re.MULTILINE)
    assert re.search(r"^rank_mean minus mean: [+-]0\.\d+ \(no interval: 2 patients .* needed\)$", out, re.MULTILINE)
    assert "may be due to chance" in out


def test_the_targets_of_a_fold_do_not_influence_its_own_order(models):
    known = out_of_fold.read(models["oof"], models["labels"])
    for method in ensemble_config.FITTED:
        _, honest = ensemble_evaluation.predict_nested(known, ensembling.Blend(method), True)
        held_out = known.folds == 2
        turned = known._replace(targets=np.where(held_out, 1 - known.targets, known.targets))
        _, other = ensemble_evaluation.predict_nested(turned, ensembling.Blend(method), True)
        assert np.argsort(honest[held_out]).tolist() == np.argsort(other[held_out]).tolist()
        # But in that of the others.
        assert np.argsort(honest[~held_out]).tolist() != np.argsort(other[~held_out]).tolist()


@pytest.mark.parametrize("method", ensemble_config.FITTED)
def test_scores_beyond_those_fitted_on_keep_their_order(method):
    rng = np.random.default_rng(0)
    targets, folds = np.tile([0, 0, 0, 1], 50), np.repeat(np.arange(5), 40)
    scores = 1 / (1 + np.exp(-1.5 * targets[:, None] - rng.normal(0, 1, (200, 3))))
    # The highest and the lowest three are all in one fold.
    rows = np.flatnonzero(folds == 2)[:6]
    scores[rows] = np.array([0.0001, 0.0002, 0.0004, 0.9996, 0.9998, 0.9999])[:, None]
    known = out_of_fold.OutOfFold([], scores, targets, None, folds, [])
    final, honest = ensemble_evaluation.predict_nested(known, ensembling.Blend(method), True)
    partial = ensembling.fit(method, scores[folds != 2], targets[folds != 2])
    assert not np.array_equal(final.weights, partial.weights)
    assert (np.diff(honest[rows]) > 0).all()
    assert (honest >= 0).all()
    assert (honest <= 1).all()


def test_a_choice_between_models_of_other_scales_is_not_punished():
    """Two equally good models, one a hundred times as high: the best one changes from fold to fold."""
    rng = np.random.default_rng(0)
    targets, folds = np.tile([0, 0, 0, 1], 200), np.repeat(np.arange(5), 160)
    # Either model is worse on two folds, so that which is the best without a fold depends on the fold.
    signals = 3 - np.stack([folds < 2, folds > 2], axis=1)
    logits = targets[:, None] * signals + rng.normal(0, 1, (800, 2))
    scores = 1 / (1 + np.exp(-logits)) * [1, 0.01]
    known = out_of_fold.OutOfFold([], scores, targets, None, folds, [])
    chosen = [ensembling.fit("best", scores[folds != fold], targets[folds != fold]).weights[0] for fold in range(5)]
    assert len(set(chosen)) == 2
    _, honest = ensemble_evaluation.predict_nested(known, ensembling.Blend("best"), True)
    raw = np.array([scores[row, 0 if chosen[fold] else 1] for row, fold in enumerate(folds)])
    within = np.mean([roc.roc_auc(targets[folds == fold], honest[folds == fold]) for fold in range(5)])
    assert roc.roc_auc(targets, honest) == pytest.approx(within, abs=0.02)
    # Scores of both scales in one column.
    assert roc.roc_auc(targets, raw) < within - 0.05


def test_greedy_selection_from_33000_images_and_5_files_takes_seconds():
    rng = np.random.default_rng(0)
    targets = (rng.random(33000) < 0.018).astype(int)
    scores = 1 / (1 + np.exp(2 - targets[:, None] - rng.normal(0, 1, (33000, 5))))
    known = out_of_fold.OutOfFold([], scores, targets, None, rng.integers(0, 5, 33000), [])
    started = time.process_time()
    ensemble_evaluation.predict_nested(known, ensembling.Blend("greedy"), True)
    assert time.process_time() - started < 10
