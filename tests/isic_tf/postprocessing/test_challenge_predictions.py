import pandas as pd
import pytest

from isic_tf.data.targets.class_set import ClassSet
from isic_tf.postprocessing import challenge_predictions
from tfrecord_tools import errors

CLASSES = ClassSet(("MEL", "NV", "BCC"), ("MEL", "BCC"))


@pytest.mark.parametrize(
    ("columns", "classes"),
    [
        (["image", "MEL", "NV"], ["MEL", "NV"]),
        (["image_name", "target"], []),
        (["image_name", "prediction", "MEL"], []),
        (["image_name", "probability_MEL", "probability_NV"], []),
        (["image_name", "score"], []),
        (["MEL", "NV"], []),
    ],
)
def test_a_submission_is_known_by_its_columns(columns, classes):
    assert challenge_predictions.list_classes(columns) == classes


@pytest.mark.parametrize(
    ("values", "prediction"),
    [
        # The sum, where the probabilities of all images add up to 1; else the maximum.
        ([["0.5", "0.25", "0.25"]], [0.75]),
        ([["0.5", "0.25", "0.25"], ["0.75", "0.5", "0.25"]], [0.5, 0.75]),
    ],
)
def test_the_single_prediction_is_that_of_the_positive_classes(values, prediction):
    table = pd.DataFrame(values, columns=list(CLASSES.names)).assign(image_name=list("ab")[: len(values)])
    found = challenge_predictions.to_predictions(table, "own.csv", CLASSES)
    assert list(found) == ["image_name", "prediction", "probability_MEL", "probability_NV", "probability_BCC"]
    assert found["prediction"].tolist() == prediction


def test_a_probability_above_1_is_refused():
    table = pd.DataFrame({"image_name": ["a"], "MEL": ["1.5"], "NV": ["0"], "BCC": ["0"]})
    with pytest.raises(
        errors.IsicError, match=r"own.csv: expected values of probability_MEL from 0 to 1, 1 of 1 are not"
    ):
        challenge_predictions.to_predictions(table, "own.csv", CLASSES)
