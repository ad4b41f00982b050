import numpy as np
import pandas as pd
import pytest

from isic_tf.postprocessing import cross_validation, out_of_fold
from tfrecord_tools import errors


def test_each_fold_is_predicted_by_what_was_fitted_on_the_others():
    targets, folds = np.array([1, 0, 1, 0, 0, 0]), np.array([2, 2, 0, 0, 1, 1])
    fit = lambda scores, targets: (scores.sum(), targets.mean())  # noqa: E731
    apply = lambda fitted, scores: fitted[0] + 1000 * fitted[1] + scores * 0  # noqa: E731
    predicted = cross_validation.cross_predict(fit, apply, np.array([1.0, 2, 4, 8, 16, 32]), targets, folds)
    # Sums of the other folds' scores 60, 51, 15, and their prevalences 1/4, 1/4, 2/4.
    assert predicted.tolist() == [310.0, 310.0, 301.0, 301.0, 515.0, 515.0]


def test_the_folds_of_the_files_are_kept_where_they_agree():
    folds = np.array([[0, 0], [0, 0], [1, 1], [1, 1]])
    for patients in (None, pd.Series(list("ppqq"))):
        chosen, notes = cross_validation.choose_folds(["a.csv", "b.csv"], folds, np.array([0, 1, 0, 1]), patients)
        assert chosen.tolist() == [0, 0, 1, 1]
        assert notes == []


def test_a_patient_in_two_folds_is_noted_by_file_and_new_folds_are_made():
    targets, patients = np.tile([0, 1], 4), pd.Series(list("ppqqrrss"))
    folds = np.stack([[0, 0, 0, 0, 1, 1, 1, 1], [0, 1, 0, 0, 1, 1, 1, 1]], axis=1)
    chosen, notes = cross_validation.choose_folds(["a.csv", "b.csv"], folds, targets, patients)
    assert len(notes) == 1
    assert notes[0].startswith("b.csv: 1 patients are in several folds")
    # Four patients with either class: four folds of a patient each.
    assert sorted(chosen[::2].tolist()) == [0, 1, 2, 3]
    assert chosen[::2].tolist() == chosen[1::2].tolist()


@pytest.mark.parametrize(
    ("folds", "targets", "patients", "message"),
    [
        ([0, 0, 1, 1], [0, 0, 0, 0], None, "fitting needs benign and malignant images, all 4 have target 0"),
        ([3, 3, 3, 3], [0, 1, 0, 1], None, "a.csv have one fold only; give --labels with patients, to make new folds"),
        ([0, 0, 0, 0], [0, 1, 0, 0], list("pqrs"), "at least two patients with malignant and two with benign images"),
        ([0, 0, 1, 1], [0, 1, 0, 0], None, "outside of fold 0 there is one class only"),
    ],
)
def test_predictions_that_cannot_be_cross_validated_are_refused(folds, targets, patients, message):
    patients = None if patients is None else pd.Series(patients)
    with pytest.raises(errors.IsicError, match=message):
        cross_validation.choose_folds(["a.csv"], np.array(folds)[:, None], np.array(targets), patients)


def test_the_interval_as_text():
    targets, scores = np.tile([0, 1], 40), np.tile([0.2, 0.8], 40)
    known = out_of_fold.OutOfFold([], scores[:, None], targets, None, targets, [])
    assert cross_validation.describe_interval(known, scores) == ""
    # Whatever patients are sampled, every malignant image is above every benign one.
    known = known._replace(patients=np.arange(80) // 4)
    assert cross_validation.describe_interval(known, scores) == " [1.0000, 1.0000]"
    few = out_of_fold.OutOfFold([], scores[:4, None], targets[:4], np.arange(4), targets[:4], [])
    assert cross_validation.describe_interval(few, scores[:4]) == (
        " no interval: 2 patients with a malignant lesion, at least 10 needed"
    )
