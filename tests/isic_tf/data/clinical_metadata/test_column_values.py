import numpy as np
import pandas as pd
import pytest

from isic_tf.data import clinical_metadata
from isic_tf.data.clinical_metadata import column_values

ROWS = pd.DataFrame({"image_name": ["c", "a", "b"], "source": ["x", "y", "x"]}, index=[7, 5, 3])


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_values_are_joined_by_name_with_unknown_ones_blank(tmp_path):
    table = write(tmp_path / "t.csv", "isic_id,area,other,H", "a.jpg,2.5,x,-1", "b,unknown,y,NA", "c,1e3,z,0", "d,x,,")
    found = column_values.add_values(ROWS, table, ["H", "area"])
    values = clinical_metadata.select_values(found, ["area", "H"])
    assert np.array_equal(values, [[1000, 0], [2.5, -1], [np.nan, np.nan]], equal_nan=True)
    assert found["image_name"].tolist() == ["c", "a", "b"]
    # The value, 0 where unknown, for each column, then whether it is unknown.
    assert clinical_metadata.encode(found, "area,H").tolist() == [[1000, 0, 0, 0], [2.5, -1, 0, 0], [0, 0, 1, 1]]
    assert column_values.add_values(ROWS, None, []) is ROWS


def test_names_are_matched_exactly_and_a_typo_is_answered_with_a_similar_one(tmp_path):
    table = write(tmp_path / "t.csv", "image_name,tbp_lv_areaMM2", "a,1", "b,2", "c,3")
    message = "has no column tbp_lv_areamm2, only image_name, tbp_lv_areaMM2; did you mean tbp_lv_areaMM2"
    with pytest.raises(ValueError, match=message):
        column_values.add_values(ROWS, table, ["tbp_lv_areamm2"])
    with pytest.raises(ValueError, match="has no column x, .*; correct the name, or use another table"):
        column_values.add_values(ROWS, table, ["x"])
    with pytest.raises(ValueError, match="expected --table=FILE.csv"):
        column_values.add_values(ROWS, None, ["x"])


@pytest.mark.parametrize("word", ["large", "1,5", "inf", "1e39", "True"])
def test_words_and_infinite_numbers_are_refused_with_the_first_ones(tmp_path, word):
    table = write(tmp_path / "t.csv", "image_name,area", "a,1", f'b,"{word}"', "c,3")
    message = rf"expected a number in the column area .* got '{word}' \(1 of 3 images, first: b\)"
    with pytest.raises(ValueError, match=message):
        column_values.add_values(ROWS, table, ["area"])


def test_columns_of_a_table_that_is_read_are_parsed():
    rows = pd.DataFrame({"image_name": ["a", "b"], "area": ["2", ""]})
    assert np.array_equal(column_values.parse_columns("t.csv", rows, ["area"]), [[2], [np.nan]], equal_nan=True)
    with pytest.raises(ValueError, match="t.csv has no column aera, only image_name, area; did you mean area"):
        column_values.parse_columns("t.csv", rows, ["aera"])
