"""Figures of the evaluation of patient context; models are replaced by scores that are given."""

import numpy as np
import pandas as pd
import pytest

from isic_tf.patient_context import context_ablation, lesion_features, second_stage
from isic_tf.patient_context.second_stage import StageOptions
from isic_tf.postprocessing.out_of_fold import OutOfFold


def make_known(scores, targets, folds, patients=None):
    names = [f"i{number}" for number in range(len(targets))]
    patients = np.array([f"p{number // 2}" for number in range(len(targets))] if patients is None else patients)
    return OutOfFold(names, np.array(scores, float)[:, None], np.array(targets), patients, np.array(folds), [])


@pytest.fixture
def known():
    """40 patients of two images in two folds; the score says nothing."""
    targets = np.tile([0, 1], 40)
    return make_known(np.full(80, 0.5), targets, np.arange(80) // 40)


@pytest.fixture
def given(known):
    return lesion_features.gather(np.zeros((80, 1)), known.patients, pd.DataFrame(index=range(80)))


def predict(monkeypatch, answer):
    """Replaces the models by a function from the patients and the options to scores; returns the calls."""
    calls = []

    def predict_nested(lesions, targets, folds, options):
        calls.append(options)
        return answer(lesions, options)

    monkeypatch.setattr(second_stage, "predict_nested", predict_nested)
    return calls


def test_the_mean_of_folds_does_not_compare_scores_of_different_folds():
    # Within each fold the order is right; in fold 1 all scores are higher. Fold 2 has one class.
    known = make_known([0.1, 0.2, 0.8, 0.9, 0.5], [0, 1, 0, 1, 0], [0, 0, 1, 1, 2])
    assert context_ablation._mean_of_folds(known, known.scores[:, 0]) == 1
    reversed_in_one = np.array([0.2, 0.1, 0.8, 0.9, 0.5])
    assert context_ablation._mean_of_folds(known, reversed_in_one) == 0.5
    one_class = make_known([0.1, 0.2], [0, 0], [0, 1])
    assert np.isnan(context_ablation._mean_of_folds(one_class, one_class.scores[:, 0]))


def test_the_gain_is_that_over_scores_and_over_metadata(known, given, monkeypatch, capsys):
    # Metadata find every other malignant image, context finds all.
    some = np.where((known.targets == 1) & (np.arange(80) % 4 == 1), 1.0, 0.5)
    calls = predict(monkeypatch, lambda lesions, options: known.targets * 1.0 if options.patient_context else some)
    found, figures = context_ablation.evaluate_gain(known, given, StageOptions("boost", seed=7), permutations=0)
    assert np.array_equal(found, known.targets)
    assert [(options.patient_context, options.seed) for options in calls] == [(False, 7), (True, 7)]
    # By hand: half of the malignant images are above all, the others tie with the benign ones: 1/2 + 1/2 x 1/2.
    assert figures["stage one"] == {"mean_of_folds": 0.5, "auc": 0.5}
    assert figures["metadata alone"] == {"mean_of_folds": 0.75, "auc": 0.75}
    assert figures["context"] == {"mean_of_folds": 1.0, "auc": 1.0}
    assert figures["context less stage one"]["difference"] == 0.5
    assert figures["context less metadata alone"]["mean_of_folds"] == 0.25
    assert figures["context less metadata alone"]["low"] > 0
    assert "shuffled" not in figures
    out = capsys.readouterr().out
    assert "80 images, 40 malignant; 40 patients with up to 2 images, 0 with one" in out
    assert "each of 2 folds by a model fitted on the other folds" in out
    assert "patient context minus metadata only: +0.2500 in the mean of folds, +0.2500 [" in out


def test_without_context_metadata_are_the_result(known, given, monkeypatch):
    calls = predict(monkeypatch, lambda lesions, options: known.targets * 1.0)
    options = StageOptions("boost", patient_context=False)
    found, figures = context_ablation.evaluate_gain(known, given, options, permutations=5)
    assert np.array_equal(found, known.targets)
    assert len(calls) == 1
    assert list(figures) == ["stage one", "metadata alone", "metadata alone less stage one"]


def test_relative_methods_have_no_control(known, given, monkeypatch):
    calls = predict(monkeypatch, lambda lesions, options: known.targets * 1.0)
    _, figures = context_ablation.evaluate_gain(known, given, StageOptions("rank"), permutations=5)
    assert [options.method for options in calls] == ["rank"]
    assert list(figures) == ["stage one", "context", "context less stage one"]


def test_the_control_counts_shuffles_that_gain_as_much(known, given, monkeypatch, capsys):
    def answer(lesions, options):
        if not options.patient_context:
            return known.scores[:, 0]
        # Only the true patients tell.
        return known.targets * 1.0 if np.array_equal(lesions.patients, given.patients) else known.scores[:, 0]

    predict(monkeypatch, answer)
    _, figures = context_ablation.evaluate_gain(known, given, StageOptions("boost"), permutations=4)
    assert figures["shuffled"] == {"gains": [0, 0, 0, 0], "gain": 0.5, "p": 1 / 5}
    out = capsys.readouterr().out
    assert "the gain is +0.0000 (from +0.0000 to +0.0000); with the true patients +0.5000 (p 0.2 by permutation)" in out
    assert "WARNING" not in out
