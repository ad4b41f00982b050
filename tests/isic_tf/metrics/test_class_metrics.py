import numpy as np
import pytest
from sklearn import metrics

from isic_tf.metrics import class_metrics, roc


def make(images=300, patients=60, classes=3, seed=0, **options):
    rng = np.random.default_rng(seed)
    truth = np.eye(classes, dtype=bool)[np.arange(images) % classes]
    probabilities = rng.dirichlet(np.ones(classes), images) * 0.7 + truth * 0.3
    patient = rng.permutation(np.arange(images) % patients)
    return class_metrics.ClassPredictions(list("ABCDEFG"[:classes]), truth, probabilities, patient, **options)


def test_six_images_have_the_figures_worked_out_by_hand():
    truth = np.eye(3, dtype=bool)[[0, 0, 1, 1, 2, 2]]
    probabilities = np.array(
        [[0.6, 0.3, 0.1], [0.4, 0.4, 0.2], [0.5, 0.4, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6], [0.3, 0.2, 0.5]]
    )
    found = class_metrics.assess(class_metrics.ClassPredictions(list("ABC"), truth, probabilities, np.arange(6)))
    assert found["confusion"] == [[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 2, 0]]
    first, second, third = found["rows"]
    # Of 8 pairs, 0.6 wins all and 0.4 all but that with 0.5.
    assert (first["auc"], third["auc"]) == (7 / 8, 1)
    # 0.4 ties with the 0.4 of the undecided image, and 0.8 wins all.
    assert second["auc"] == (7.5 / 8)
    assert found["macro_auc"] == pytest.approx((7 / 8 + 7.5 / 8 + 1) / 3)
    assert [row["sensitivity"] for row in found["rows"]] == [0.5, 0.5, 1]
    assert found["balanced_accuracy"] == pytest.approx(2 / 3)
    assert [row["f1"] for row in found["rows"]] == pytest.approx([1 / 2, 2 / 3, 1])
    assert found["macro_f1"] == pytest.approx((1 / 2 + 2 / 3 + 1) / 3)
    assert found["accuracy"] == pytest.approx(4 / 6)
    assert found["interval_note"] == "no interval: 2 patients with images of class A, at least 10 needed"
    assert [found["macro_auc_low"], first["auc_high"], first["f1_low"]] == [None, None, None]


def test_figures_are_scikit_learns_and_inside_their_intervals():
    predictions = make()
    found = class_metrics.assess(predictions, resamples=200)
    truth = predictions.truth.argmax(axis=1)
    assert found["macro_auc"] == pytest.approx(
        metrics.roc_auc_score(truth, predictions.probabilities, multi_class="ovr")
    )
    decided = predictions.probabilities.argmax(axis=1)
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(truth, decided, average="macro"))
    assert found["interval_note"] == ""
    for name in ("macro_auc", "macro_average_precision", "balanced_accuracy", "macro_f1", "accuracy"):
        assert found[f"{name}_low"] < found[name] < found[f"{name}_high"], name
    for place, row in enumerate(found["rows"]):
        targets, scores = predictions.truth[:, place].astype(int), predictions.probabilities[:, place]
        assert (row["auc_low"], row["auc_high"]) == roc.roc_auc_interval(targets, scores, predictions.patient, 200)
        for name in ("sensitivity", "specificity", "precision", "f1", "average_precision"):
            assert row[f"{name}_low"] < row[name] < row[f"{name}_high"], name


def test_a_class_of_few_patients_has_no_interval_and_leaves_the_means_without_one():
    predictions = make()
    predictions.patient[predictions.truth[:, 2]] %= 9
    found = class_metrics.assess(predictions, resamples=60)
    assert [row["auc_low"] is None for row in found["rows"]] == [False, False, True]
    assert found["rows"][2]["interval_note"] == "no interval: 9 patients with images of class C, at least 10 needed"
    assert found["interval_note"] == found["rows"][2]["interval_note"]
    assert found["macro_f1_low"] is None


def test_a_class_without_images_is_left_out_of_the_means():
    predictions = make(classes=2)
    truth = np.pad(predictions.truth, ((0, 0), (0, 1)))
    probabilities = np.pad(predictions.probabilities, ((0, 0), (0, 1)))
    more = class_metrics.ClassPredictions(list("ABC"), truth, probabilities, predictions.patient)
    found, expected = (class_metrics.assess(each, resamples=60) for each in (more, predictions))
    assert found["rows"][2]["auc"] is None
    assert found["rows"][2]["sensitivity"] is None
    for name in ("macro_auc", "balanced_accuracy", "macro_f1", "macro_f1_low", "macro_auc_high"):
        assert found[name] == pytest.approx(expected[name]), name


def test_labels_that_do_not_exclude_each_other_are_decided_at_one_half():
    truth = np.array([[True, True], [True, False], [False, True], [False, False]])
    probabilities = np.array([[0.9, 0.5], [0.4, 0.1], [0.2, 0.3], [0.6, 0.2]])
    found = class_metrics.assess(
        class_metrics.ClassPredictions(["A", "B"], truth, probabilities, np.arange(4), multi_label=True)
    )
    assert found["confusion"] is None
    assert [(row["sensitivity"], row["specificity"]) for row in found["rows"]] == [(0.5, 0.5), (0.5, 1)]
    assert found["balanced_accuracy"] == pytest.approx((0.5 + 0.75) / 2)
    assert [row["auc"] for row in found["rows"]] == [0.75, 1]
