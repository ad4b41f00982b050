import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from isic_tf.evaluation import within_patient_ranking


def table_of(*lesions):
    """Returns the images of patients, each a list of (target, prediction)."""
    rows = [(number, *lesion) for number, patient in enumerate(lesions) for lesion in patient]
    return pd.DataFrame(rows, columns=["patient", "target", "prediction"])


# The melanoma on top of four; second of three, and one more that is last; tied at the top with a benign one of two.
WORKED = [
    [(1, 0.9), (0, 0.1), (0, 0.2), (0, 0.3)],
    [(0, 0.5), (1, 0.4), (1, 0.1)],
    [(1, 0.6), (0, 0.6)],
]
# Neither counts: one kind of lesions only.
ONE_KIND = [[(0, 0.99), (0, 0.98)], [(1, 0.01)]]


def test_ranks_worked_by_hand():
    found = within_patient_ranking.rank(table_of(*WORKED, *ONE_KIND, *WORKED), resamples=100)
    assert (found["patients"], found["images"]) == (6, 3)
    # Ranks 1, 2 and 1.5; percentiles 1, 1/2 and 1/2.
    assert found["mean_rank"] == pytest.approx(1.5)
    assert found["median_rank"] == pytest.approx(1.5)
    assert found["mean_percentile"] == pytest.approx(2 / 3)
    # On top: yes, no, half; by lot 1/4, 2/3 and 1/2.
    assert found["top_1"] == pytest.approx(0.5)
    assert found["top_1_by_chance"] == pytest.approx((1 / 4 + 2 / 3 + 1 / 2) / 3)
    # Pairs won: all, none, half.
    assert found["auc_within"] == pytest.approx(0.5)
    assert found["top_1_low"] is found["auc_within_high"] is None
    assert found["interval_note"] == "no interval: 6 patients with both kinds of lesions, at least 10 needed"
    assert found["note"] == ""
    more = within_patient_ranking.rank(table_of(*WORKED, *ONE_KIND, *WORKED, *WORKED, *WORKED), resamples=100)
    assert more["top_1_low"] < 0.5 < more["top_1_high"]
    assert more["auc_within_low"] < 0.5 < more["auc_within_high"]
    assert more["interval_note"] == ""


def test_the_area_within_patients_equals_scikit_learns():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"patient": rng.integers(0, 20, 300), "target": rng.integers(0, 2, 300)})
    table["prediction"] = rng.integers(0, 30, 300) / 30
    each = [roc_auc_score(part["target"], part["prediction"]) for _, part in table.groupby("patient")]
    assert within_patient_ranking.rank(table, resamples=10)["auc_within"] == pytest.approx(np.mean(each), abs=1e-12)


@pytest.mark.parametrize(("lesions", "count"), [(WORKED, 3), (ONE_KIND, 0)])
def test_too_few_patients_have_a_note(lesions, count):
    found = within_patient_ranking.rank(table_of(*lesions))
    assert found["note"] == f"too few: {count} patients with malignant and benign images, 5 needed"
    assert found["patients"] == count
    assert found["mean_rank"] is found["top_1_low"] is None
