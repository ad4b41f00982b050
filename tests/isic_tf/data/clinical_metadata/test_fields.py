import numpy as np
import pandas as pd
import pytest

from isic_tf.data import clinical_metadata

ROWS = pd.DataFrame({"age_approx": [65, -1], "sex": [1, -1], "anatom_site_general_challenge": [3, -1]})


def test_metadata_worked_by_hand():
    found = clinical_metadata.encode(ROWS, "site,age,sex")
    # Age 65 is one spread above the middle; then male, female, unknown; then the six sites and unknown.
    assert found.tolist() == [
        [1, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0],
        [0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1],
    ]
    assert found.dtype == np.float32
    assert clinical_metadata.width("site,age,sex") == found.shape[1]


def test_some_fields_or_none():
    assert clinical_metadata.encode(ROWS, "sex").tolist() == [[0, 1, 0], [0, 0, 1]]
    assert clinical_metadata.encode(ROWS, "").shape == (2, 0)
    assert clinical_metadata.columns("sex,age") == ["age_approx", "sex"]
    assert clinical_metadata.columns("") == []


@pytest.mark.parametrize("name", ["width", "file_size", "image_size"])
def test_sizes_are_refused_since_they_leak_the_label(name):
    with pytest.raises(ValueError, match=f"--metadata={name} is refused: the size .* leaks the label"):
        clinical_metadata.parse(f"age,{name}")


def test_numeric_columns_come_last_as_they_are_with_unknown_ones_marked():
    rows = ROWS.assign(**{"numeric:area": [7.5, np.nan], "numeric:h": [np.nan, -2.0]})
    assert clinical_metadata.parse("area,sex,h") == ("sex",)
    found = clinical_metadata.encode(rows, "area,sex,h")
    assert found.tolist() == [[0, 1, 0, 7.5, 0, 0, 1], [0, 0, 1, 0, -2, 1, 0]]
    assert clinical_metadata.width("area,sex,h") == 7


def test_a_field_that_no_image_has_is_refused():
    rows = ROWS.assign(sex=-1, anatom_site_general_challenge=-1)
    with pytest.raises(
        ValueError,
        match="--metadata=sex,site needs sex, anatom_site_general_challenge, unknown in all 2 records; omit it, or reb",
    ):
        clinical_metadata.check_known(rows, "age,sex,site")
    clinical_metadata.check_known(rows, "age")
    clinical_metadata.check_known(rows, "")
    clinical_metadata.check_known(rows[:0], "sex")


def test_unknown_shares_are_logged(capsys):
    clinical_metadata.check_known(ROWS.assign(sex=0), "age,sex")
    assert capsys.readouterr().out == "note: unknown metadata of 2 images: age of 1 (50.0%)\n"
    clinical_metadata.log_unknown(ROWS.assign(sex=-1), "sex")
    assert capsys.readouterr().out == "note: unknown metadata of 2 images: sex of 2 (100.0%)\n"
    clinical_metadata.log_unknown(ROWS.assign(**{"numeric:area": [7.5, np.nan]}), "area")
    assert capsys.readouterr().out == "note: unknown metadata of 2 images: area of 1 (50.0%)\n"
    clinical_metadata.log_unknown(ROWS[:1], "age,sex,site")
    assert capsys.readouterr().out == ""
