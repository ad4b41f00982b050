import pandas as pd
import pytest

from isic_tf.postprocessing import lesion_join
from tfrecord_tools import errors

TABLE = pd.DataFrame(
    {
        "image_name": list("abcde"),
        "patient_id": ["p", "q", "p", "", ""],
        "lesion_id": ["L1", "L2", "l1", "", ""],
        "target": [1, 0, 1, 0, 1],
        "prediction": [0.25, 0.5, 0.75, 0.125, 0.875],
        "probability_NV": [0.75, 0.5, 0.125, 0.5, 0.25],
    }
)
COLUMNS = ["prediction", "probability_NV"]


@pytest.mark.parametrize(
    ("how", "first"),
    [("mean", [0.5, 0.4375]), ("max", [0.75, 0.75])],
)
def test_the_images_of_a_lesion_are_joined_and_those_without_one_stay(how, first):
    joined = lesion_join.join_lesions(TABLE, COLUMNS, how, equal=["target"])
    assert joined["image_name"].tolist() == ["a", "b", "d", "e"]
    assert joined[COLUMNS].to_numpy().tolist() == [first, [0.5, 0.5], [0.125, 0.5], [0.875, 0.25]]
    assert joined["num_images"].tolist() == [2, 1, 1, 1]
    assert joined["target"].tolist() == [1, 0, 0, 1]
    assert (joined["lesion"] != "").tolist() == [True, True, False, False]


def test_lesions_that_are_numbered_within_each_patient_are_not_mixed():
    numbers = [str(number) for number in range(8)]
    table = pd.DataFrame({"patient_id": ["p"] * 8 + ["q"] * 8, "lesion_id": numbers * 2, "prediction": 0.5})
    table = pd.concat([table, table]).reset_index(drop=True).assign(image_name=[f"i{number}" for number in range(32)])
    assert lesion_join.join_lesions(table, ["prediction"])["num_images"].tolist() == [2] * 16


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(errors.IsicError, match="expected lesion_id for the images to join them by lesion, got none"):
        lesion_join.join_lesions(TABLE.assign(lesion_id=""), COLUMNS)
    with pytest.raises(errors.IsicError, match="expected one target for all images of a lesion, but 1 lesions have"):
        lesion_join.join_lesions(TABLE.assign(target=[1, 0, 0, 0, 1]), COLUMNS, equal=["target"])
