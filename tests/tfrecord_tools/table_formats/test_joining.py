"""Tables of one set are joined by image or lesion, rows of several sets are put together."""

import pytest
from table_makers import normalize

from tfrecord_tools import errors
from tfrecord_tools.table_formats import joining

SEX = {"columns": {"image_name": "image", "sex": "sex", "lesion_id": "lesion"}}
CLASSES = {"classes": {"MEL": "melanoma", "NV": "nevus"}}
OWN = {"target": {"from": "column", "column": "target", "policy": "malignant"}}


def join(*tables, policy="melanoma"):
    return joining.join_tables(tables, policy)


def test_truth_and_metadata_are_joined_by_image_in_the_order_of_the_first():
    truth = normalize("image,dx", "b,melanoma", "a.jpg,nevus", "c,nevus", path="truth.csv")
    metadata = normalize("image,sex,lesion", "a,male,L1", "b,female,", "d,male,", path="meta.csv", **SEX)
    joined = join(truth, metadata)
    rows = joined.rows
    assert rows["image_name"].tolist() == ["b", "a", "c", "d"]
    assert rows["sex"].tolist() == ["female", "male", "", "male"]
    assert rows["diagnosis_source"].tolist() == ["melanoma", "nevus", "nevus", ""]
    assert rows["lesion_id"].tolist() == ["", "L1", "", ""]
    # An image without a label is one of a set with labels.
    assert rows["is_labeled"].tolist() == [True, True, True, True]
    assert joined.notes == [
        "1 images of clinic are not in truth.csv ('d')",
        "1 images of clinic are not in meta.csv ('c')",
    ]


def test_truth_by_lesion_reaches_all_images_of_the_lesion():
    metadata = normalize("image,sex,lesion", "a,male,L1", "b,male,L1", "c,female,L2", "d,male,", **SEX)
    columns = {"lesion_id": "lesion", "diagnosis": "dx"}
    truth = normalize("lesion,dx", "L1,melanoma", "L2,nevus", "L9,nevus", path="t.csv", columns=columns, joins="lesion")
    for tables in ((metadata, truth), (truth, metadata)):
        joined = join(*tables)
        assert joined.rows["diagnosis_source"].tolist() == ["melanoma", "melanoma", "nevus", ""]
        assert "1 lesions of t.csv have no image in the other tables" in joined.notes
        assert joined.rows["is_labeled"].all()
    with pytest.raises(errors.IsicError, match="t.csv names lesions, but no images; add the table"):
        join(truth)


def test_a_diagnosis_in_words_is_more_specific_than_a_class():
    truth = normalize("image,MEL,NV", "a,1,0", "b,0,1", "c,0,1", columns={"image_name": "image"}, **CLASSES)
    supplement = normalize("image,dx", "a,Melanoma", "b,actinic keratosis", "c,xyz", path="s.csv")
    for tables in ((truth, supplement), (supplement, truth)):
        rows = join(*tables).rows.set_index("image_name")
        assert [finding.name for finding in rows["finding"]] == ["melanoma", "actinic keratosis", "nevus"]
        assert rows["diagnosis_source"].tolist()[:2] == ["Melanoma", "actinic keratosis"]


def test_rows_of_several_sets_are_put_together():
    one = normalize("image,dx", "a,melanoma", source="one")
    other = normalize("image,sex,lesion", "b,male,7", source="other", **SEX)
    rows = join(one, other).rows
    assert rows["source"].tolist() == ["one", "other"]
    # Only the other set has no labels at all.
    assert rows["is_labeled"].tolist() == [True, False]
    assert rows["lesion_id"].tolist() == ["", "other_7"]


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (
            ("image,dx", "a,melanoma"),
            ("image,dx", "a,nevus"),
            "a has diagnosis 'melanoma' in a.csv and 'nevus' in b.csv",
        ),
        (("image,sex", "a,male"), ("image,sex", "a,female"), "a has sex 'male' in a.csv and 'female' in b.csv"),
        (("image,target", "a,1"), ("image,target", "a,0"), "a has target '1' in a.csv and '0' in b.csv"),
        (("image,target", "a,0"), ("image,dx", "a,melanoma"), "a has target '0' in a.csv and '1' in b.csv"),
    ],
)
def test_tables_that_contradict_each_other_are_an_error_that_lists_the_cases(first, second, message):
    columns = {"image_name": "image", "sex": "sex", "diagnosis": "dx"}
    tables = [
        normalize(*lines, path=path, columns=columns, recognized_by=["image"], **OWN)
        for lines, path in ((first, "a.csv"), (second, "b.csv"))
    ]
    with pytest.raises(errors.IsicError, match=message):
        join(*tables, policy="malignant")


def test_a_contradiction_names_the_table_that_the_value_is_from():
    tables = [
        normalize("image,sex", "a,", path="a.csv", **SEX),
        normalize("image,sex", "a,male", path="b.csv", **SEX),
        normalize("image,sex", "a,female", path="c.csv", **SEX),
    ]
    with pytest.raises(errors.IsicError, match="a has sex 'male' in b.csv and 'female' in c.csv"):
        join(*tables)


def test_numbers_that_are_written_in_another_way_agree():
    tables = [normalize("image,dx,area", row, keep=["area"]) for row in ("a,nevus,1.5", "a,nevus,1.50")]
    assert join(*tables).rows["area"].tolist() == ["1.5"]
    tables[1].rows["area"] = "1.51"
    with pytest.raises(errors.IsicError, match="a has area '1.5'"):
        join(*tables)


def test_rows_that_repeat_each_other_count_once_and_others_are_refused():
    table = normalize("image,dx", "a,nevus", "a.png,nevus", "b,nevus")
    joined = join(table)
    assert joined.rows["image_name"].tolist() == ["a", "b"]
    assert joined.repeated == 1
    with pytest.raises(errors.IsicError, match="got 1 contradictions: a has diagnosis 'nevus' and 'melanoma' in a.csv"):
        join(normalize("image,dx", "a,nevus", "a,melanoma"))
