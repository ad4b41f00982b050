import pandas as pd
import pytest

from isic_tf.artifacts import class_columns

TABLE = pd.DataFrame(
    {
        "image_name": ["a", "b"],
        "prediction": [0.3, 0.4],
        "probability_MEL": ["0.3", "0.4"],
        "probability_NV": [0.7, 0.6],
    }
)


def test_the_probabilities_are_selected_in_the_order_of_the_file():
    assert class_columns.list_classes(TABLE[TABLE.columns[::-1]]) == ["NV", "MEL"]
    assert class_columns.select_probabilities(TABLE, adds_to_one=True).tolist() == [[0.3, 0.7], [0.4, 0.6]]
    assert class_columns.select_probabilities(TABLE[["image_name", "prediction"]]).shape == (2, 0)
    assert class_columns.list_columns(class_columns.list_classes(TABLE)) == list(TABLE.columns[2:])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("x", r"s.csv: expected values of probability_MEL from 0 to 1, 1 of 2 are not \(b\); correct"),
        ("0.5", r"classes MEL, NV that add up to 1, those of 1 images do not \(first: b, 1.1000\); predict"),
    ],
)
def test_what_is_no_probability_is_refused(value, message):
    with pytest.raises(ValueError, match=message):
        class_columns.select_probabilities(TABLE.assign(probability_MEL=["0.3", value]), "s.csv", adds_to_one=True)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "expected 1 to 1000 classes, got 0"),
        (["MEL", ""], "got ''; rename it"),
        (["a,b"], "got 'a,b'"),
        (["a\n"], "without commas and control characters"),
        (["MEL", "mel"], "whatever the case of letters, got MEL, mel"),
    ],
)
def test_names_that_no_file_could_hold_are_refused(names, message):
    with pytest.raises(ValueError, match=message):
        class_columns.check_names(names)
