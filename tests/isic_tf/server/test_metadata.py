import numpy as np
import pandas as pd
import pytest
from starlette.exceptions import HTTPException

from isic_tf.data import clinical_metadata
from isic_tf.server import metadata

ROWS = pd.DataFrame({"image_name": ["image 1", "image 2"]})
FIELDS = metadata.list_fields("age,sex,site", ["area"])


def encode(**values):
    rows = metadata.encode_rows(ROWS, FIELDS, values)
    return rows.drop(columns="image_name").to_numpy(float).tolist()


def test_a_value_holds_for_all_images_or_each_has_its_own():
    rows = metadata.encode_rows(ROWS, FIELDS, {"age_approx": [" 45.0 "], "sex": ["female", ""], "area": ["", "2.5"]})
    assert rows["age_approx"].tolist() == [45, 45]
    assert rows["sex"].tolist() == [1, -1]
    assert rows["anatom_site_general_challenge"].tolist() == [-1, -1]
    np.testing.assert_array_equal(rows["numeric:area"], [np.nan, 2.5])
    # Age 45 is a third of a standard deviation below the mean.
    found = clinical_metadata.encode(rows, "age,sex,area")
    np.testing.assert_allclose(found, [[-1 / 3, 0, 0, 1, 0, 0, 1], [-1 / 3, 0, 0, 0, 1, 2.5, 0]], rtol=1e-6)


def test_a_run_without_metadata_has_no_fields():
    assert metadata.list_fields("", []) == []
    assert metadata.encode_rows(ROWS, [], {}).equals(ROWS)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sex": ["male"] * 3}, "expected sex once, or once for each of 2 images, got 3 values"),
        ({"sex": ["woman"]}, "expected one of male, female as sex, or nothing where it is unknown, got 'woman'"),
        ({"age_approx": ["121"]}, "expected a number from 0 to 120 as age_approx"),
        ({"age_approx": ["nan"]}, "a number from 0 to 120 as age_approx"),
        ({"area": ["wide"]}, "expected a number as area, or nothing where it is unknown, got 'wide'"),
        ({"area": ["inf"]}, "expected a number as area"),
        ({"area": ["-1e39"]}, "expected a number as area"),
        ({"anatom_site_general_challenge": ["<b>" * 99]}, "got '<b><b><b><b><b><b><b><b><b><b><b><b><b><'"),
    ],
)
def test_values_that_are_none_are_refused_in_one_line(values, message):
    with pytest.raises(HTTPException) as caught:
        encode(**values)
    assert caught.value.status_code == 422
    assert message in caught.value.detail
    assert "\n" not in caught.value.detail
