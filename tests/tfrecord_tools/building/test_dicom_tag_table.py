import pandas as pd
import pytest
from dicom_files import made
from shard_files import JPEG

from tfrecord_tools.building import dicom_tag_table
from tfrecord_tools.io import csv_tables


def test_tags_become_a_table_with_targets_to_fill_in(tmp_path, capsys):
    (tmp_path / "a.dcm").write_bytes(made(PatientID="p1", PatientSex="M", PatientAge="050Y"))
    (tmp_path / "b.dcm").write_bytes(made(PatientID='"b"', BodyPartExamined="SKIN"))
    (tmp_path / "c.jpg").write_bytes(JPEG)
    dicom_tag_table.write_tag_table(str(tmp_path), "train", str(tmp_path / "t.csv"))
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,target",
        "a,p1,male,50,,",
        "b,,,,,",
    ]
    assert "2 images in" in capsys.readouterr().out
    dicom_tag_table.write_tag_table(str(tmp_path), "test", str(tmp_path / "t.csv"))
    assert "target" not in (tmp_path / "t.csv").read_text()


def test_impossible_ages_are_left_blank_with_a_note_and_formulas_are_marked(tmp_path, capsys):
    (tmp_path / "a.dcm").write_bytes(made(PatientID="=1+1", PatientAge="999Y", BodyPartExamined="CHEST"))
    (tmp_path / "b.dcm").write_bytes(made(PatientAge="055Y"))
    (tmp_path / "c.dcm").write_bytes(made(PatientAge="old"))
    dicom_tag_table.write_tag_table(str(tmp_path), "test", str(tmp_path / "t.csv"))
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == ["a,'=1+1,,,torso", "b,,,55,", "c,,,,"]
    out = capsys.readouterr().out
    assert "note: 2 values of PatientAge are not an age from 0 to 120 years and are left blank: " in out
    assert "'a.dcm: 999Y', 'c.dcm: old'" in out
    assert csv_tables.read_table(str(tmp_path / "t.csv"), ())["patient_id"].tolist() == ["=1+1", "", ""]


def test_a_directory_without_dicom_files_is_refused(tmp_path):
    (tmp_path / "c.jpg").write_bytes(JPEG)
    with pytest.raises(ValueError, match="expected DICOM files in .*, got 1 images of other formats; check --images"):
        dicom_tag_table.write_tag_table(str(tmp_path), "train", str(tmp_path / "t.csv"))


@pytest.mark.realdata
def test_real_tags_have_no_quotes_and_name_no_patient(tmp_path, real_data):
    dicom_tag_table.write_tag_table(str(real_data / "isic2020" / "dicom"), "test", str(tmp_path / "t.csv"))
    table = csv_tables.read_table(str(tmp_path / "t.csv"), ())
    listed = csv_tables.read_table(str(real_data / "isic2020" / "test.csv"), ()).set_index("image_name")
    listed = listed.reindex(table["image_name"]).reset_index()
    assert len(table) == 9
    assert (table["patient_id"] == "").all()
    assert '"' not in (tmp_path / "t.csv").read_text()
    for column in ("sex", "anatom_site_general_challenge"):
        assert table[column].tolist() == listed[column].tolist()
    # Ages in the tags are five years low for seven of these nine.
    assert (pd.to_numeric(listed["age_approx"]) - pd.to_numeric(table["age_approx"])).tolist().count(5) == 7
