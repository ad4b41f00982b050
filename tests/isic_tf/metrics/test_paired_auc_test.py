import numpy as np
import pandas as pd
import pytest

from isic_tf.evaluation import units
from isic_tf.metrics import paired_auc_test, roc, summaries


@pytest.fixture(scope="module")
def pair():
    """Two predictions of 600 images of 60 patients, the first better."""
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 600)
    shared = rng.normal(size=600)
    table = {"image_name": [f"i{number}" for number in range(600)], "target": targets}
    table["patient_id"] = [f"p{number}" for number in np.arange(600) // 10]
    scores = [targets + shared + noise * rng.normal(size=600) for noise in (0.3, 1.0)]
    return [pd.DataFrame({**table, "prediction": 1 / (1 + np.exp(-score))}) for score in scores]


def test_the_difference_is_that_of_the_areas_with_intervals_about_it(pair):
    found = paired_auc_test.compare(*pair, resamples=400)
    areas = [summaries.summarize(table, 50)["auc"] for table in pair]
    assert found["difference"] == pytest.approx(areas[0] - areas[1], abs=1e-12)
    assert found["low"] < found["difference"] < found["high"]
    assert 0 < found["delong_low"] < found["difference"] < found["delong_high"]
    assert found["delong_p"] < 0.01
    # Images are independent of each other here, so that both intervals are alike.
    assert found["high"] - found["low"] == pytest.approx(found["delong_high"] - found["delong_low"], rel=0.2)
    partial = [roc.partial_roc_auc(table["target"], table["prediction"]) for table in pair]
    assert found["partial_auc_difference"] == pytest.approx(partial[0] - partial[1], abs=1e-12)
    assert found["partial_auc_low"] < found["partial_auc_difference"] < found["partial_auc_high"]


def test_the_interval_of_a_difference_is_narrower_than_that_of_either_area(pair):
    found = paired_auc_test.compare(*pair, resamples=200)
    low, high = roc.roc_auc_interval(pair[1]["target"], pair[1]["prediction"], pair[1]["patient_id"], 200)
    assert found["high"] - found["low"] < high - low


def test_a_file_does_not_differ_from_itself(pair):
    found = paired_auc_test.compare(pair[0], pair[0], resamples=50)
    assert found["difference"] == found["low"] == found["high"] == found["partial_auc_difference"] == 0
    assert found["delong_p"] is None


def test_other_images_are_refused(pair):
    first, second = pair
    units.refuse_other_images(["a.csv", "b.csv"], pair)
    with pytest.raises(ValueError, match=r"the same images only: 2 only in a.csv \(i0, i1\); evaluate one at a time"):
        units.refuse_other_images(["a.csv", "b.csv"], [first, second[2:]])
    with pytest.raises(ValueError, match=r"1 only in a.csv \(i0\); 1 only in b.csv \(other\)"):
        units.refuse_other_images(["a.csv", "b.csv"], [first, second.replace({"image_name": {"i0": "other"}})])


def test_too_few_patients_give_the_difference_without_interval_or_test(pair):
    few = [table.assign(patient_id=["p", "q", "r"] * 200) for table in pair]
    found = paired_auc_test.compare(*few, resamples=50)
    assert found["difference"] == paired_auc_test.compare(*pair, resamples=50)["difference"]
    assert found["interval_note"] == "no interval: 3 patients with a malignant lesion, at least 10 needed"
    ends = ("low", "high", "delong_low", "delong_high", "delong_p", "partial_auc_low", "partial_auc_high")
    assert {found[name] for name in ends} == {None}
    assert paired_auc_test.compare(*pair, resamples=50)["interval_note"] == ""
