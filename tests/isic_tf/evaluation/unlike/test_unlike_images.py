import json

import numpy as np
import pandas as pd
import pytest

from isic_tf.evaluation.unlike import unlike_images
from isic_tf.metrics import roc

# Eight images of eight patients at a threshold of 0.5: f and h are wrong, the two that are most unlike.
SMALL = pd.DataFrame(
    {
        "target": [0, 1, 0, 1, 0, 1, 0, 1],
        "prediction": [0.1, 0.9, 0.2, 0.8, 0.3, 0.4, 0.4, 0.2],
        "patient": range(8),
        "unlike": [0.1, 0.2, 0.3, 0.4, 0.5, 1.5, 0.6, 2.0],
        "sex": ["male", "female"] * 4,
        "group_clinic": ["north"] * 6 + ["south"] * 2,
    }
)


def make():
    """Images of 200 patients: the prediction of unlike images is noise."""
    rng = np.random.default_rng(0)
    targets, patient = np.arange(600) % 2, np.arange(600) // 3
    unlike = rng.gamma(4, 0.2, 600)
    noise = np.where(unlike > 1, 3.0, 0.5)
    scores = 1 / (1 + np.exp(1 - 2 * targets - noise * rng.normal(size=600)))
    return pd.DataFrame({"target": targets, "prediction": scores, "patient": patient, "unlike": unlike})


@pytest.fixture(scope="module")
def found():
    return unlike_images.assess(make(), 0.5, resamples=100)


def test_flagged_images_are_counted_in_every_group():
    found = unlike_images.assess(SMALL, 0.5, ["clinic"])
    assert (found["images"], found["flagged"], found["share"], found["unknown"]) == (8, 2, 0.25, 0)
    assert found["share_low"] < 0.25 < found["share_high"]
    groups = {group["by"]: {row["group"]: row for row in group["rows"]} for group in found["groups"]}
    assert list(groups) == ["sex", "images of the patient", "clinic"]
    assert [(row["images"], row["flagged"]) for row in groups["sex"].values()] == [(4, 2), (4, 0)]
    assert list(groups["sex"]) == ["female", "male"]
    assert groups["clinic"]["south"]["share"] == 0.5
    assert groups["clinic"]["north"]["share"] == 1 / 6


def test_coverages_and_their_error_rates_are_those_by_hand():
    found = unlike_images.assess(SMALL, 0.5)
    rows = [(row["coverage"], row["images"], row["limit"], row["malignant"]) for row in found["coverages"]]
    # 95 % and 90 % of 8 images are all of them.
    assert rows == [(1.0, 8, 2.0, 4), (0.95, 8, 2.0, 4), (0.9, 8, 2.0, 4), (0.8, 7, 1.5, 3), (0.5, 4, 0.4, 2)]
    assert [row["error"] for row in found["coverages"]] == [0.25, 0.25, 0.25, 1 / 7, 0]
    area = found["risk_coverage"]
    assert area["area"] == pytest.approx((1 / 7 + 2 / 8) / 8)
    assert area["area_random"] == 0.25
    assert (area["low"], area["interval_note"][:11]) == (None, "no interval")


def test_without_a_threshold_every_malignant_image_is_wrong():
    found = unlike_images.assess(SMALL, None)
    assert found["coverages"][0]["error"] == 0.5


def test_leaving_out_the_flagged_images_is_compared_on_the_same_resamples(found):
    table = make()
    whole, kept, flagged = found["rows"]
    assert [row["group"] for row in found["rows"]] == ["all", "not flagged", "flagged"]
    own = table[table["unlike"] <= 1]
    assert kept["auc"] == roc.roc_auc(own["target"], own["prediction"])
    assert (kept["images"], flagged["images"]) == (len(own), 600 - len(own))
    difference = found["without_flagged"]
    assert difference["difference"] == pytest.approx(kept["auc"] - whole["auc"])
    assert 0 < difference["low"] < difference["difference"] < difference["high"]


def test_unlike_images_that_are_judged_badly_give_an_order_better_than_random(found):
    area = found["risk_coverage"]
    assert area["low"] < area["difference"] < area["high"] < 0
    aucs = [row["auc"] for row in found["coverages"]]
    assert aucs[0] == found["rows"][0]["auc"]
    assert aucs[-1] > aucs[0]
    assert [row["images"] for row in found["coverages"]] == [600, 570, 540, 480, 300]


def test_all_parts_are_plain_values(found):
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_images_without_a_value_are_left_out():
    table = SMALL.assign(unlike=[np.nan, *SMALL["unlike"][1:]])
    found = unlike_images.assess(table, 0.5)
    assert (found["images"], found["unknown"], found["share"]) == (7, 1, 2 / 7)
    assert found["coverages"][0]["error"] == 2 / 7
    assert unlike_images.assess(table.assign(unlike=np.nan), 0.5) is None
    assert unlike_images.assess(table.drop(columns="unlike"), 0.5) is None


def test_where_too_few_images_are_left_there_is_a_note_and_no_difference():
    found = unlike_images.assess(SMALL, 0.5)
    assert found["without_flagged"]["difference"] is None
    assert found["without_flagged"]["interval_note"] == "too small: 2 malignant images, 10 needed"
    likely = unlike_images.assess(make().assign(unlike=0.5), 0.5, resamples=20)
    assert [row["group"] for row in likely["rows"]] == ["all", "not flagged"]
    assert likely["without_flagged"]["interval_note"] == "no image is flagged"
    unlikely = unlike_images.assess(make().assign(unlike=1.5), 0.5, resamples=20)
    assert [row["group"] for row in unlikely["rows"]] == ["all", "flagged"]
    assert unlikely["without_flagged"]["interval_note"] == "every image is flagged"


def test_the_curve_of_a_table_is_that_of_its_known_images():
    coverage, risk = unlike_images.plot_points(SMALL.assign(unlike=[np.nan, *SMALL["unlike"][1:]]), 0.5)
    assert coverage == pytest.approx(np.arange(1, 8) / 7)
    assert risk == pytest.approx([0, 0, 0, 0, 0, 1 / 6, 2 / 7])
