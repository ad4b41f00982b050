"""Plain numbers of several data sets are kept apart; what is the same in several is described."""

import pytest
from table_makers import normalize

from tfrecord_tools import errors
from tfrecord_tools.table_formats import joining, shared_names

COLUMNS = {"image_name": "image", "patient_id": "patient", "lesion_id": "lesion"}


def read(*lines, **fields):
    return normalize("image,patient,lesion", *lines, columns=COLUMNS, **fields)


def test_numbers_get_the_source_in_front_where_sets_are_joined():
    one, other = read("a,7,IL_1", "b,,3.0", source="one"), read("c,7,5", source="other")
    assert shared_names.prefix_people([one]) == []
    assert one.rows["patient_id"].tolist() == ["7", ""]
    notes = shared_names.prefix_people([one, other])
    assert one.rows["patient_id"].tolist() == ["one_7", ""]
    assert one.rows["lesion_id"].tolist() == ["IL_1", "one_3"]
    assert other.rows["patient_id"].tolist() == ["other_7"]
    assert notes[0].startswith("1 values of patient_id in a.csv are plain numbers")
    assert len(notes) == 4


def test_a_zero_among_names_stays_unknown_and_spellings_of_a_number_are_one():
    one, other = read("a,0,0", "b,0,IL_1", "c,IP_1,", source="one"), read("d,007,", "e,7,", source="other")
    shared_names.prefix_people([one, other])
    assert one.rows["patient_id"].tolist() == ["0", "0", "IP_1"]
    assert one.rows["lesion_id"].tolist() == ["0", "IL_1", ""]
    assert other.rows["patient_id"].tolist() == ["other_7", "other_7"]


def test_a_format_may_ask_for_a_prefix_of_its_own():
    table = read("a,7,8", id_prefix="pad")
    shared_names.prefix_people([table])
    assert table.rows[["patient_id", "lesion_id"]].to_numpy().tolist() == [["pad_7", "pad_8"]]


def test_images_with_one_number_in_two_sets_are_refused():
    one, other = read("12.jpg,,", "x,,", source="one"), read("12,,", "x,,", source="other")
    with pytest.raises(errors.IsicError, match=r"1 images .* the same number as a name \(first: 12 of one and other\)"):
        shared_names.refuse_shared_names([one, other])
    shared_names.refuse_shared_names([one, read("12,,", source="one")])


def test_numbers_that_two_tables_of_one_source_share_are_noted_where_no_image_is_in_both():
    tables = [read("a,7,", "b,8,", path="a.csv"), read("c,7,", "d,P_9,", path="b.csv")]
    (note,) = shared_names.describe_shared_people(tables)
    assert note.startswith(
        "1 patients ('7') are in a.csv and b.csv and count as the same people; if these are two data"
    )
    assert shared_names.describe_shared_people([*tables[:1], read("a,7,", path="c.csv")]) == []
    assert shared_names.describe_shared_people([read("a,IP_7,"), read("b,IP_7,")]) == []


def join(*tables):
    return joining.join_tables(tables, "melanoma")


def test_images_that_several_sets_have_are_one_row_and_noted():
    old, new = normalize("image,dx", "a,nevus", "b,nevus", source="old"), normalize("image,dx", "a,nevus", source="new")
    joined = join(old, new)
    assert joined.rows["source"].tolist() == ["old", "old"]
    assert "1 images are in old and new; each is one row, of the source that comes first" in joined.notes
    assert not any(
        "each is one row" in note for note in join(old, normalize("image,dx", "a,nevus", source="old")).notes
    )


def test_photographs_under_several_names_are_described():
    old = normalize("image,dx", "ISIC_0000001,nevus", source="old")
    new = normalize("image,dx", "ISIC_0000001_downsampled,nevus", "ISIC_0000002,nevus", source="new")
    rows = join(old, new).rows
    assert len(rows) == 3
    lines = shared_names.describe_shared_photographs(rows)
    assert lines[0].startswith("2 rows are of 1 photographs under several names ('ISIC_0000001', 'ISIC_0000001_down")
    assert shared_names.describe_shared_photographs(rows.iloc[2:]) == []


def test_a_photograph_under_two_names_has_one_target():
    old = normalize("image,dx", "ISIC_0000001,nevus", "ISIC_0000003,nevus", source="old")
    rows = ["ISIC_0000001_downsampled,melanoma", "ISIC_0000003_downsampled,actinic keratosis", "ISIC_0000002,nevus"]
    new = normalize("image,dx", *rows, source="new", path="new.csv")
    message = "got 1 contradictions: ISIC_0000001_downsampled has target '0' in old as ISIC_0000001 and '1' in new;"
    with pytest.raises(errors.IsicError, match=message):
        join(old, new)
