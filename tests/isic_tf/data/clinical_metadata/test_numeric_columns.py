import numpy as np
import pytest

from isic_tf.data.clinical_metadata import numeric_columns


def test_numeric_columns_are_all_but_the_fields_of_records():
    assert numeric_columns.parse_numeric(" area, age,tbp_lv_H,area ,site") == ("area", "tbp_lv_H")
    assert numeric_columns.parse_numeric("age,sex") == ()
    with pytest.raises(ValueError, match="--metadata=iddx_1 is refused: it states the diagnosis; use some of age,sex,"):
        numeric_columns.parse_numeric("age,iddx_1")
    with pytest.raises(ValueError, match="expected --columns to name age_approx as age, a field of the records"):
        numeric_columns.parse_numeric("age_approx", "--columns")


def test_mean_and_standard_deviation_are_those_of_the_known_values():
    values = np.array([[1.0, -4.0], [3.0, np.nan], [np.nan, 4.0], [5.0, 0.0]])
    found = numeric_columns.compute_standards(values, ["a", "b"])
    assert found.mean.tolist() == [3, 0]
    assert found.spread == pytest.approx([np.sqrt(8 / 3), np.sqrt(32 / 3)])
    lines = numeric_columns.describe_standards(values, ["a", "b"], found)
    assert lines[0] == "  a: mean 3, standard deviation 1.63299, unknown of 1 of 4 images"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([np.nan, np.nan], "expected values of a, a column of --metadata, got none of the 2 training images"),
        ([3.0, 3.0], "expected different values of a, .* got 3 for all of the 2 training images .* leave it out"),
        ([3.0, np.nan], "expected different values of a, .* got 3 for all of the 1 training images"),
        ([1e9, 1e9 + 1], "expected different values of a"),
    ],
)
def test_a_column_without_information_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        numeric_columns.compute_standards(np.array(values)[:, None], ["a"])


def test_a_table_is_asked_for_where_it_is_needed_only():
    numeric_columns.check_table(None, [])
    numeric_columns.check_table("t.csv", ["a"])
    message = "expected --table=FILE.csv with image_name and the numeric columns a, b, which the model was trained with"
    with pytest.raises(ValueError, match=message):
        numeric_columns.check_table(None, ["a", "b"])
    with pytest.raises(ValueError, match="expected no --table: the model uses no numeric columns, got t.csv"):
        numeric_columns.check_table("t.csv", [])
