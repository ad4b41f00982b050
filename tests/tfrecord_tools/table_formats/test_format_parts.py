"""The fields of a format are checked, each with an error of its own."""

import pytest
from table_makers import make_format

from tfrecord_tools import errors
from tfrecord_tools.table_formats import format_parts


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"columns": {"image": "x"}}, "expected columns for some of image_name, .*got 'image'"),
        ({"columns": ["x"]}, r"expected columns to be pairs .*got \['x'\]"),
        ({"columns": {"image_name": {"a": "b"}}}, "expected columns image_name to be a text or a list"),
        ({"title": ["x"]}, "expected title to be text"),
        ({"joins": "patient"}, "expected joins to be one of image, lesion"),
        ({"classes": {"MEL": "melanomma"}}, "expected classes MEL to be a diagnosis that is known"),
        ({"otherwise": {"diagnosis": "x"}}, "expected otherwise to be a diagnosis and a malignancy"),
        ({"otherwise": {"diagnosis": "x", "malignancy": "benign", "category": "y"}}, "otherwise category to be one"),
        ({"otherwise": {"diagnosis": "x", "malignancy": "benign", "is_melanoma": "y"}}, "is_melanoma to be true or"),
        ({"otherwise": {"diagnosis": "x", "kind": "benign"}}, "expected otherwise with some of .*got 'kind'"),
        ({"values": {"sex": {"x": "man"}}}, "expected values sex x to be blank or one of male, female"),
        ({"values": {"age_approx": {"x": "old"}}}, "expected values age_approx x to be blank or whole years"),
        ({"values": {"image_name": {}}}, "expected values for some of .*got 'image_name'"),
        ({"target": {"from": "column", "policy": "any"}}, "expected target to be from: diagnosis, or from: column"),
        ({"target": {"from": "column", "column": "x", "policy": "y"}}, "expected target policy to be one of"),
        ({"target": {"from": "column", "column": "x", "policy": "any", "values": {"a": "2"}}}, "to be 0, 1 or blank"),
        ({"target": {"from": "column", "column": "x", "policy": "any", "except": "benign"}}, "except to be indetermin"),
        ({"without_header": {"columns": ["a", "b"], "matches": ["x"]}}, "to be one pattern for each column"),
        ({"without_header": {"columns": ["a"], "matches": ["("]}}, "to be regular expressions"),
        ({"lesion_key": ["case"]}, "expected lesion_key to be some of"),
    ],
)
def test_a_field_that_is_not_what_it_can_be_is_refused(fields, message):
    with pytest.raises(errors.IsicError, match=message) as raised:
        make_format(**fields)
    assert str(raised.value).startswith("clinic.yaml: ")


def test_a_description_is_a_dict():
    with pytest.raises(errors.IsicError, match="expected the fields of a format"):
        format_parts.FormatParts("a.yaml", ["name"])


def test_a_word_may_mean_another_thing_in_one_set():
    found = make_format(values={"diagnosis": {"Atypical": {"diagnosis": "nevus", "malignancy": "indeterminate"}}})
    assert found.diagnoses["atypical"].category == "nevus"
    assert found.diagnoses["atypical"].malignancy == "indeterminate"
    assert make_format(values={"diagnosis": {"n/d": ""}}).diagnoses == {"n/d": None}


def test_a_target_of_zeros_and_ones_needs_no_values():
    rule = make_format(target={"from": "column", "column": "y", "values": {"Malignant": "1"}, "policy": "any"}).target
    assert [rule.values.get(text) for text in ("0", "1.0", "true", "malignant", "2")] == ["0", "1", "1", "1", None]
    assert make_format(target={"from": "diagnosis"}).target is None


def test_json_becomes_text():
    assert format_parts.to_text({"a": [True, None, "1.0"], "b": "x"}) == {"a": ["true", "", "1.0"], "b": "x"}


@pytest.mark.parametrize(("parts", "is_open"), [({}, True), ({"is_melanoma": "false"}, False)])
def test_an_object_keeps_open_whether_it_is_a_melanoma_unless_it_says_so(parts, is_open):
    collision = {"diagnosis": "Collision - At least one malignant proliferation", **parts}
    found = format_parts.FormatParts("a.yaml", {}).diagnosis("otherwise", collision)
    assert (found.malignancy, found.is_melanoma, found.may_be_melanoma) == ("malignant", False, is_open)
