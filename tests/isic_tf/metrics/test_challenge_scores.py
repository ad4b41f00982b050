import io

import numpy as np
import pandas as pd
import pytest

from isic_tf.metrics import challenge_scores

NAMES = ["MEL", "NV", "BCC"]


def test_the_scores_of_five_images_are_those_worked_out_by_hand():
    truth = np.eye(3, dtype=bool)[[0, 0, 1, 1, 2]]
    probabilities = np.array([[0.7, 0.2, 0.1], [0.4, 0.4, 0.2], [0.1, 0.8, 0.1], [0.6, 0.3, 0.1], [0.1, 0.2, 0.7]])
    scores = challenge_scores.score(NAMES, truth, probabilities)
    # One of two melanomas, since the other is undecided; one of two nevi; the carcinoma.
    assert scores["balanced_accuracy"] == pytest.approx((1 / 2 + 1 / 2 + 1) / 3)
    melanoma = scores["per_category"]["MEL"]
    # Above 0.5 are one melanoma and one nevus.
    assert {name: melanoma[name] for name in ("accuracy", "sensitivity", "specificity", "dice", "ppv", "npv")} == {
        "accuracy": pytest.approx(3 / 5),
        "sensitivity": pytest.approx(1 / 2),
        "specificity": pytest.approx(2 / 3),
        "dice": pytest.approx(1 / 2),
        "ppv": pytest.approx(1 / 2),
        "npv": pytest.approx(2 / 3),
    }
    # Of the 6 pairs with a melanoma, the nevus with 0.6 wins one; from 80 % sensitivity on, the curve is at 1 from a
    # false positive rate of 1/3 on.
    assert melanoma["auc"] == pytest.approx(5 / 6)
    assert melanoma["auc_sens_80"] == pytest.approx(2 / 3)
    assert melanoma["ap"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["macro_average"]["auc"] == pytest.approx((5 / 6 + 5 / 6 + 1) / 3)


def test_a_class_without_images_counts_as_the_challenge_has_it():
    truth = np.eye(3, dtype=bool)[[0, 1]]
    scores = challenge_scores.score(NAMES, truth, np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]]))
    assert scores["balanced_accuracy"] == 1
    assert scores["per_category"]["BCC"]["sensitivity"] == 1
    assert scores["per_category"]["BCC"]["auc"] is None
    assert scores["macro_average"]["auc"] == 1


def make_files(seed, images, classes, digits):
    """The bytes of a truth and of a submission in the challenge's format; rounding makes ties."""
    rng = np.random.default_rng(seed)
    names = [f"ISIC_{number:07d}" for number in range(images)]
    columns = [f"C{number}" for number in range(classes)]
    truth = np.eye(classes)[np.r_[np.arange(classes), rng.integers(classes, size=images - classes)]]
    values = np.round(
        rng.dirichlet(np.full(classes, 0.5), images) * 0.6 + truth * rng.random((images, 1)) * 0.4, digits
    )
    files = [pd.DataFrame(table, columns=columns).assign(image=names)[["image", *columns]] for table in (truth, values)]
    return columns, [file.to_csv(index=False) for file in files]


@pytest.mark.parametrize(("images", "classes", "digits"), [(60, 3, 1), (200, 7, 2), (400, 9, 12)])
def test_scores_are_those_of_the_official_scorer(images, classes, digits, monkeypatch):
    pytest.importorskip("isic_challenge_scoring")
    classification = pytest.importorskip("isic_challenge_scoring.classification")
    if not hasattr(pd.DataFrame, "applymap"):
        # Renamed in pandas 2.1 and gone in 3.
        monkeypatch.setattr(pd.DataFrame, "applymap", pd.DataFrame.map, raising=False)
    columns, texts = make_files(images, images, classes, digits)
    metric = classification.ClassificationMetric.BALANCED_ACCURACY
    official = classification.ClassificationScore.from_stream(*map(io.StringIO, texts), metric)
    truth, values = (pd.read_csv(io.StringIO(text), index_col="image").to_numpy(float) for text in texts)
    scores = challenge_scores.score(columns, truth == 1, values)
    assert scores["balanced_accuracy"] == pytest.approx(official.overall, abs=1e-9)
    for name in columns:
        expected = official.per_category.loc[name].to_dict()
        assert scores["per_category"][name] == pytest.approx(expected, abs=1e-9)
    assert scores["macro_average"] == pytest.approx(official.macro_average.to_dict(), abs=1e-9)
