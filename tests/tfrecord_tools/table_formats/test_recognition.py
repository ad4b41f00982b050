"""A table is recognized by its columns, or the nearest format is named."""

import pytest
from table_makers import make_format, make_raw

from tfrecord_tools import errors
from tfrecord_tools.table_formats import recognition

TRUTH = make_format(name="truth", title="the truth", recognized_by=["image", "MEL"], not_with=["patient"])
FULL = make_format(name="full", recognized_by=["image", "MEL", "NV"])
AGES = make_format(name="ages", recognized_by=["image", "age"])
BARE = make_format(
    name="bare", without_header={"columns": ["image", "kind"], "matches": [r"ISIC_\d+", "benign|malignant"]}
)
ALL = [TRUTH, FULL, AGES, BARE]


def recognize(header, named=()):
    return recognition.recognize(make_raw(header, "x"), named, ALL)[1].name


def test_the_format_that_needs_most_of_the_columns_wins():
    assert recognize("Image,mel") == "truth"
    assert recognize("image,MEL,NV,more") == "full"
    assert recognize("image,MEL,patient,NV") == "full"


def test_a_table_without_a_header_is_told_by_its_first_row():
    table, found = recognition.recognize(make_raw("ISIC_0000001,benign", "ISIC_0000002,malignant"), [], ALL)
    assert found is BARE
    assert table.read(["kind"])["kind"].tolist() == ["benign", "malignant"]


def test_named_formats_come_first():
    own = make_format(name="own", recognized_by=["image"])
    assert recognize("image,MEL", named=[own]) == "own"
    assert recognize("image,MEL", named=[make_format(name="own", recognized_by=["photo"]), AGES]) == "truth"


def test_several_formats_are_an_error_that_names_them():
    with pytest.raises(
        errors.IsicError, match="a.csv may be a table of several formats: ages, truth; name one of them"
    ):
        recognize("image,MEL,age")


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image,NV", r"the nearest is full, but it lacks MEL; it has 'image', 'NV'; rename"),
        ("image,MEL,patient", r"the nearest is full, but it lacks NV"),
        ("MEL,x", r"the nearest is truth \(the truth\), but it lacks image"),
        ("a,b", r"a.csv has no column of a known format, it has 'a', 'b'; describe it in a file"),
    ],
)
def test_an_unknown_table_is_told_the_nearest_format_and_what_it_lacks(header, message):
    with pytest.raises(errors.IsicError, match=message):
        recognize(header)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("image_name_1,image_name_2", "a.csv is a list of pairs of duplicates; give it as --duplicates of folds"),
        ("indexes", "a.csv lists the rows of a part of Derm7pt; use its meta.csv"),
        ("pixel0000,pixel0001,label", "a.csv has the pixels of small images; use the set's table of diagnoses"),
    ],
)
def test_published_tables_of_another_kind_are_refused_with_what_they_are(header, message):
    with pytest.raises(errors.IsicError, match=f"expected a table of images and their diagnoses; {message}"):
        recognize(header)


def test_columns_that_a_format_must_not_have_are_named():
    with pytest.raises(errors.IsicError, match="but it has patient, which that has not"):
        recognition.recognize(make_raw("image,MEL,patient", "x"), [], [TRUTH])


LEGEND = ["PH2 Dataset,,,", ",,,", '"Legends: 0, 1",,,', "Image,T - typical,,", ",,,"]


def test_a_header_below_a_legend_is_found():
    phrase = make_format(
        name="phrase", columns={"image_name": "Image Name"}, classes={"Nevus": "nevus", "MEL": "melanoma"}
    )
    header = '"Image\nName",Nevus,MEL,"Asymmetry\n(0/1/2)"'
    table, found = recognition.recognize(make_raw(*LEGEND, header, "a,X,,0", "b,,X,2"), [], [phrase, TRUTH])
    assert found is phrase
    assert table.num_skipped == 5
    assert table.read(["Image Name", "MEL"])["MEL"].tolist() == ["", "X"]
    # Two columns are too few, and so is a header that is too far below.
    for lines in ([*LEGEND, "image,MEL,x"], [*LEGEND * 7, header]):
        with pytest.raises(errors.IsicError, match="no column of a known format|the nearest is"):
            recognition.recognize(make_raw(*lines, "a,X,0"), [], [phrase, TRUTH])


def test_a_header_below_a_legend_may_have_another_separator():
    full = make_format(name="full", recognized_by=["image", "MEL", "NV"])
    table, _ = recognition.recognize(make_raw("sep=;", "image;MEL;NV", "a;1;0"), [], [full])
    assert (table.separator, table.num_skipped) == (";", 1)
    assert table.read(["MEL"])["MEL"].tolist() == ["1"]


def test_formats_are_chosen_by_name_or_file(tmp_path):
    path = tmp_path / "own.yaml"
    path.write_text("name: own\ncolumns: {image_name: photo}\n")
    named, published = recognition.choose_formats(["auto", "isic_tf", str(path)])
    assert [each.name for each in named] == ["isic_tf", "own"]
    assert len(published) > 2
