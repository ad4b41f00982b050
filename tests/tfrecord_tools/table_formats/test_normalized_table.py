"""A table gets the columns and the values of the package, and every value is counted."""

import pytest
from table_makers import normalize

from tfrecord_tools import errors


def counted(table, column):
    return [
        (count.original, count.became, count.rows, count.understood) for count in table.counts if count.column == column
    ]


def test_values_are_those_of_the_package_and_are_counted():
    columns = {
        "image_name": "image", "sex": "gender", "age_approx": ["age", "years"],
        "anatom_site_general_challenge": "site", "patient_id": "case",
    }  # fmt: skip
    table = normalize(
        "image,gender,age,years,site,case,extra",
        "d/a.JPG,W,,45,Arm,7,x",
        "b,male,50,,torso,,y",
        "c,?,abc,30,nowhere,8,z",
        columns=columns,
        values={"sex": {"w": "female"}, "anatom_site_general_challenge": {"arm": "upper extremity"}},
        image_type="dermoscopic",
        source="clinic-a",
    )
    rows = table.rows
    assert rows["image_name"].tolist() == ["a", "b", "c"]
    assert rows["sex"].tolist() == ["female", "male", ""]
    # An age that is not understood is taken from the next column.
    assert rows["age_approx"].tolist() == ["45", "50", "30"]
    assert rows["anatom_site_general_challenge"].tolist() == ["upper extremity", "torso", ""]
    assert rows["patient_id"].tolist() == ["7", "", "8"]
    assert set(rows["image_type"]) == {"dermoscopic"}
    assert set(rows["source"]) == {"clinic-a"}
    assert counted(table, "sex") == [("?", "", 1, False), ("W", "female", 1, True), ("male", "male", 1, True)]
    assert ("abc", "", 1, False) in counted(table, "age_approx")
    assert ("nowhere", "", 1, False) in counted(table, "anatom_site_general_challenge")
    assert table.notes == ["the directory or the extension was removed from 1 image names"]
    assert table.unused == ["extra"]
    assert not table.is_labeled


def test_the_first_diagnosis_that_is_understood_counts_and_its_words_are_kept():
    table = normalize(
        "image,fine,coarse",
        "a,Nevus,Melanoma",
        "b,xyz,melanoma",
        "c,,nevus",
        "d,xyz,",
        "e,unknown,",
        "f,,",
        columns={"image_name": "image", "diagnosis": ["fine", "coarse"]},
    )
    names = [finding.name if finding else "" for finding in table.rows["finding"]]
    assert names == ["nevus", "melanoma", "nevus", "", "", ""]
    assert table.rows["diagnosis_source"].tolist() == ["Nevus", "melanoma", "nevus", "xyz", "unknown", ""]
    assert ("xyz", "", 2, False) in counted(table, "diagnosis")
    assert ("unknown", "", 1, True) in counted(table, "diagnosis")
    assert table.is_labeled
    assert table.has_detail


def test_a_tables_own_target_is_read_and_other_values_are_counted():
    rule = {"from": "column", "column": "bm", "values": {"Malignant": "1", "benign": "0"}, "policy": "any"}
    table = normalize("image,bm", "a,malignant", "b,Benign", "c,maybe", "d,", target=rule, recognized_by=["image"])
    assert table.rows["truth"].tolist() == ["1", "0", "", ""]
    assert counted(table, "target")[2] == ("maybe", "", 1, False)


def test_a_row_may_have_several_images():
    table = normalize(
        "case,derm,clinic,dx",
        "1,NEL/d1.jpg,c1.jpg,nevus",
        "2,d2.jpg,,melanoma",
        columns={"patient_id": "case", "diagnosis": "dx"},
        images={"derm": "dermoscopic", "clinic": "clinical"},
    )
    columns = ["image_name", "image_type", "patient_id", "diagnosis_source"]
    assert table.rows[columns].to_numpy().tolist() == [
        ["d1", "dermoscopic", "1", "nevus"],
        ["c1", "clinical", "1", "nevus"],
        ["d2", "dermoscopic", "2", "melanoma"],
    ]


def test_a_lesion_may_be_named_by_patient_and_lesion_together():
    columns = {"image_name": "image", "patient_id": "patient", "lesion_id": "lesion"}
    table = normalize(
        "image,patient,lesion", "a,PAT_1,5", "b,PAT_2,5", "c,,5", "d,PAT_1,", columns=columns,
        lesion_key=["patient_id", "lesion_id"],
    )  # fmt: skip
    assert table.rows["lesion_id"].tolist() == ["PAT_1_5", "PAT_2_5", "5", ""]


def test_columns_are_kept_where_asked():
    table = normalize("image,dx,area", "a,nevus,1.50", keep=["Area", "none"])
    assert table.rows["Area"].tolist() == ["1.50"]
    assert table.unused == []


def test_blank_rows_are_left_out_and_counted():
    table = normalize("image,dx", "a,nevus", ",", "b,nevus")
    assert table.rows["image_name"].tolist() == ["a", "b"]
    assert table.dropped == {"blank row": 1}
    assert table.num_read == 3


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["image,dx"], "a header but no rows"),
        (["image,dx", ",", ","], "the columns image, dx are blank in all rows"),
        (["image,dx", "a,nevus", ",nevus"], r"must name the image of every row, but 1 have none \(first: row 2\)"),
    ],
)
def test_tables_without_images_are_refused(lines, message):
    with pytest.raises(errors.IsicError, match=message):
        normalize(*lines)
