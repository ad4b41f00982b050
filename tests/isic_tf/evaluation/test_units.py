import pandas as pd
import pytest

from isic_tf.evaluation import config, units
from tfrecord_tools import errors

TABLE = pd.DataFrame(
    {
        "image_name": list("abcd"),
        "patient_id": "p",
        "lesion_id": ["l", "m", "l", "l"],
        "target": [1, 0, 1, 1],
        "prediction": [0.25, 0.5, 0.75, 1.0],
        "probability_MEL": [0.5, 0.25, 1.0, 0.0],
        "truth_MEL": [1, 0, 1, 1],
        "stage_one": [0.25, 0.5, 0.25, 0.5],
        "unlike": [0.5, 1.5, 1.0, 0.25],
        "is_scored": [True, True, True, False],
    }
)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("patient", "mean"), "unit to be one of image, lesion, got 'patient'"),
        (("lesion", "median"), "join to be one of mean, max, got 'median'"),
        (("image", "max"), "join=max with unit=lesion, got unit=image; add --unit=lesion"),
    ],
)
def test_other_units_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.check_unit(*options)


def test_images_that_a_challenge_does_not_score_are_left_out():
    found = units.select(TABLE, "image", "mean")
    assert found["image_name"].tolist() == ["a", "b", "c"]
    assert "is_scored" not in found
    assert units.select(TABLE.drop(columns="is_scored"), "image", "mean").equals(TABLE.drop(columns="is_scored"))


def test_all_predictions_of_a_lesion_are_joined():
    found = units.select(TABLE, "lesion", "mean")
    assert found[["prediction", "probability_MEL", "stage_one", "unlike"]].to_numpy().tolist() == [
        [0.5, 0.75, 0.25, 0.75], [0.5, 0.25, 0.5, 1.5]
    ]  # fmt: skip


def test_a_lesion_of_several_classes_is_refused():
    with pytest.raises(errors.IsicError, match="expected one truth_MEL for all images of a lesion"):
        units.select(TABLE.assign(truth_MEL=[1, 0, 0, 1]), "lesion", "mean")


def test_a_lesion_in_several_groups_is_refused():
    groups = ["clinical", "dermoscopic", "dermoscopic", "dermoscopic"]
    with pytest.raises(errors.IsicError, match="expected one group_image_type for all images of a lesion, but 1 "):
        units.select(TABLE.assign(group_image_type=groups), "lesion", "mean")
    assert len(units.select(TABLE.assign(group_image_type="clinical"), "lesion", "mean")) == 2


def test_tables_are_named_by_their_path_or_number(tmp_path):
    sources = [pd.DataFrame(), tmp_path / "a.csv", pd.DataFrame()]
    assert units.name_sources(sources) == ["predictions", str(tmp_path / "a.csv"), "predictions 3"]


def test_files_of_other_images_are_refused():
    first = pd.DataFrame({"image_name": ["a", "b"]})
    units.refuse_other_images(["one", "two"], [first, first])
    with pytest.raises(errors.IsicError, match=r"1 only in one \(b\); 1 only in two \(c\); evaluate one at a time"):
        units.refuse_other_images(["one", "two"], [first, first.replace("b", "c")])
