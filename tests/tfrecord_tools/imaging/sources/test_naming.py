import pytest

from tfrecord_tools import errors
from tfrecord_tools.imaging.sources import naming


def test_names_that_one_file_has_stay_as_they_are():
    assert naming.settle_names({"a": ["d/x/a.jpg"]}, ["d"], ["x/a"]) == ({"a": ["d/x/a.jpg"]}, {})


def test_a_table_names_files_of_one_name_by_their_directories():
    found = {"i": ["d/s/benign/i.jpg", "d/s/malignant/i.jpg", "d/other/i.jpg"]}
    settled, renamed = naming.settle_names(found, ["d"], ["benign/i.jpg", "s\\malignant\\i"])
    assert settled == {
        "benign_i": ["d/s/benign/i.jpg"],
        "s_malignant_i": ["d/s/malignant/i.jpg"],
        "i": ["d/other/i.jpg"],
    }
    assert renamed == {"benign/i.jpg": "benign_i", "s\\malignant\\i": "s_malignant_i"}


def test_a_table_that_names_no_directory_gets_both_files():
    found = {"i": ["d/a/i.dcm", "d/b/i.dcm"]}
    for name in ("i", "I.DCM"):
        assert naming.settle_names(found, ["d"], [name]) == ({"i": ["d/a/i.dcm", "d/b/i.dcm"]}, {})


def test_files_of_an_export_are_named_by_all_their_directories(capsys):
    found = {"IMG1": ["e/P1/S1/IMG1", "e/P2/S1/IMG1", "x.zip::P3/IMG1"]}
    settled, _ = naming.settle_names(found, ["e", "x.zip"])
    assert settled == {
        "P1_S1_IMG1": ["e/P1/S1/IMG1"],
        "P2_S1_IMG1": ["e/P2/S1/IMG1"],
        "P3_IMG1": ["x.zip::P3/IMG1"],
    }
    assert "note: 3 DICOM files have names that files in other directories have too" in capsys.readouterr().out
    # What the table of tags lists is found again.
    again, renamed = naming.settle_names(found, ["e", "x.zip"], list(settled))
    assert again == settled
    assert renamed == {name: name for name in settled}


def test_single_files_of_one_name_are_named_by_the_directories_of_their_paths():
    paths = ["/in/a/x.jpg", "b/x.jpg"]
    assert naming.settle_names({"x": paths}, paths) == ({"x": paths}, {})
    settled, renamed = naming.settle_names({"x": paths}, paths, ["a/x", "b/x.jpg"])
    assert settled == {"a_x": ["/in/a/x.jpg"], "b_x": ["b/x.jpg"]}
    assert renamed == {"a/x": "a_x", "b/x.jpg": "b_x"}
    # Of single DICOM files, as many directories as tell them apart; those of this machine stay out of names.
    scans = ["/in/p/1/x.dcm", "/in/q/1/x.dcm", "d/r/2/x.dcm"]
    settled, _ = naming.settle_names({"x": scans}, [*scans[:2], "d"])
    assert settled == {"p_1_x": [scans[0]], "q_1_x": [scans[1]], "r_2_x": [scans[2]]}
    # Without a directory there is nothing to tell it by.
    assert naming.settle_names({"x": ["x.dcm", "a/x.dcm"]}, ["x.dcm", "a/x.dcm"])[0] == {
        "x": ["x.dcm"],
        "a_x": ["a/x.dcm"],
    }


def test_files_of_other_formats_or_of_one_place_in_two_sources_stay_together():
    found = {"i": ["d/a/i.jpg", "d/b/i.png"], "j": ["d/a/j.dcm", "e/a/j.dcm"]}
    assert naming.settle_names(found, ["d", "e"]) == (found, {})


def test_names_with_several_files_are_listed_with_them():
    found = {name: [f"d/{name}.png", f"d/{name}.jpg"] for name in "gfedcba"}
    text = naming.describe_repeated(found)
    assert text.startswith("'a' (d/a.jpg, d/a.png), 'b' (d/b.jpg, d/b.png), ")
    assert text.endswith(", and 2 more")
    assert naming.describe_repeated({"a": ["d/a.jpg"]}) == ""
    naming.refuse_repeated({"a": ["d/a.jpg"]}, "d")
    with pytest.raises(errors.IsicError, match=r"one file per image in d, .*: 'a' \(d/a.jpg, d/a.png\), .*; remove or"):
        naming.refuse_repeated(found, "d")
