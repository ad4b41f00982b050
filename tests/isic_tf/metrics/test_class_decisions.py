import numpy as np
import pytest
from sklearn import metrics

from isic_tf.metrics import class_decisions


def test_an_image_whose_maximum_is_shared_is_undecided():
    probabilities = [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.0, 0.0, 0.0], [0.4, 0.1, 0.4]]
    assert class_decisions.decide(probabilities).tolist() == [1, -1, -1, -1]


def test_undecided_images_count_in_a_column_of_their_own():
    found = class_decisions.confusion_matrix([0, 0, 1, 1, 1], [0, -1, 0, 1, -1], classes=2)
    assert found.tolist() == [[1, 0, 1], [1, 1, 1]]


def test_the_rates_of_a_matrix_are_those_worked_out_by_hand():
    # Five of A: 3 right, 1 as B, 1 undecided. Four of B: 2 right, 2 as A. None of C.
    rates = class_decisions.compute_rates([[3, 1, 0, 1], [2, 2, 0, 0], [0, 0, 0, 0]])
    assert rates["sensitivity"][:2] == pytest.approx([3 / 5, 2 / 4])
    assert rates["specificity"] == pytest.approx([2 / 4, 4 / 5, 1])
    assert rates["precision"][:2] == pytest.approx([3 / 5, 2 / 3])
    # 2 x 3 of 5 + 5, 2 x 2 of 4 + 3.
    assert rates["f1"][:2] == pytest.approx([6 / 10, 4 / 7])
    assert np.isnan([rates[name][2] for name in ("sensitivity", "precision", "f1")]).all()
    assert rates["balanced_accuracy"] == pytest.approx((3 / 5 + 2 / 4) / 2)
    assert rates["macro_f1"] == pytest.approx((6 / 10 + 4 / 7) / 2)
    assert rates["accuracy"] == pytest.approx(5 / 9)


def test_the_rates_are_scikit_learns_where_no_image_is_undecided():
    rng = np.random.default_rng(0)
    truth, decided = rng.integers(4, size=(2, 200))
    rates = class_decisions.compute_rates(class_decisions.confusion_matrix(truth, decided, 4))
    assert rates["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(truth, decided))
    assert rates["macro_f1"] == pytest.approx(metrics.f1_score(truth, decided, average="macro"))
    assert rates["precision"] == pytest.approx(metrics.precision_score(truth, decided, average=None))


def test_labels_that_do_not_exclude_each_other_are_rated_each_by_itself():
    # Of 4 images 2 have A, of which 1 is called A and no other; 1 has B, and is called B as another one is.
    counts = ([1, 1], [2, 1], [1, 2])
    correct, own, called = (np.array(values, float)[:, None] for values in counts)
    rates = class_decisions.compute_label_rates(correct, own, called, np.array([4.0]))
    assert rates["sensitivity"].ravel() == pytest.approx([1 / 2, 1])
    assert rates["specificity"].ravel() == pytest.approx([1, 2 / 3])
    assert rates["macro_f1"].item() == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert rates["balanced_accuracy"].item() == pytest.approx((3 / 4 + 5 / 6) / 2)
    assert rates["accuracy"].item() == pytest.approx(3 / 4)
