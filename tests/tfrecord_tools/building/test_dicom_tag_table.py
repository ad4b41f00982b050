import zipfile

import pandas as pd
import pytest
from dicom_files import made
from shard_files import JPEG

from tfrecord_tools import errors
from tfrecord_tools.building import dicom_tag_table
from tfrecord_tools.imaging import dicom
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
    dicom_tag_table.write_tag_table(str(tmp_path), "test", str(tmp_path / "test.csv"))
    assert "target" not in (tmp_path / "test.csv").read_text()


def test_a_table_that_was_corrected_by_hand_is_not_overwritten(tmp_path):
    (tmp_path / "a.dcm").write_bytes(made(PatientID="p1"))
    table = tmp_path / "t.csv"
    for _ in range(2):
        dicom_tag_table.write_tag_table(str(tmp_path), "train", str(table))
    corrected = table.read_text().replace("p1", "p2")
    table.write_text(corrected)
    with pytest.raises(errors.ConfigError, match=f"expected no {table}, .* got a file with other content"):
        dicom_tag_table.write_tag_table(str(tmp_path), "train", str(table))
    assert table.read_text() == corrected


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


def test_values_without_a_counterpart_are_counted_with_a_note(tmp_path, capsys):
    for name in ("a", "b"):
        (tmp_path / f"{name}.dcm").write_bytes(made(PatientSex="O", BodyPartExamined="SKIN"))
    (tmp_path / "c.dcm").write_bytes(made(PatientSex="F", BodyPartExamined="KIDNEY"))
    dicom_tag_table.write_tag_table(str(tmp_path), "test", str(tmp_path / "t.csv"))
    assert (
        "note: 5 values of sex and site have no counterpart in the table and are left blank: PatientSex 'O' (2), "
        "BodyPartExamined 'SKIN' (2), BodyPartExamined 'KIDNEY' (1)\n"
    ) in capsys.readouterr().out


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


# Not a secret: of this test alone.
KEY = "0123456789abcdef" * 4


def export(folder):
    """A nested export: two patients, whose files have the same names."""
    folder.mkdir()
    files = {
        "P1/S1/IMG1": {"StudyDate": "20200131", "TrackingID": "mole"},
        "P1/S2/IMG1": {"StudyDate": "20210131", "TrackingID": "mole"},
        "P1/S2/IMG2": {"StudyDate": "20210131", "TrackingUID": "1.2.3.9"},
        "P2/S1/IMG1": {"StudyDate": "20190101", "PatientID": "4711-B", "TrackingID": "mole"},
        "P2/S1/IMG3": {"StudyDate": "", "PatientID": ""},
    }
    for name, tags in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(made(**{"PatientID": "4711-A", "PatientName": "Doe^Jane", **tags}))
    (folder / "DICOMDIR").write_bytes(made())
    report = dicom.read(made(), "")
    del report.PixelData
    report.save_as(folder / "P1" / "S1" / "REPORT")
    return str(folder)


def test_an_export_becomes_patients_lesions_and_visits_without_dates(tmp_path, capsys):
    table = dicom_tag_table.write_tag_table(export(tmp_path / "e"), "test", str(tmp_path / "t.csv"))
    assert table[["image_name", "patient_id", "lesion_id", "visit"]].to_numpy().tolist() == [
        ["IMG2", "4711-A", "1.2.3.9", "2"],
        ["IMG3", "", "", ""],
        ["P1_S1_IMG1", "4711-A", "4711-A_mole", "1"],
        ["P1_S2_IMG1", "4711-A", "4711-A_mole", "2"],
        ["P2_S1_IMG1", "4711-B", "4711-B_mole", "1"],
    ]
    text = (tmp_path / "t.csv").read_text()
    assert "2020" not in text
    assert "Doe" not in text
    assert "note: 1 DICOM files hold no image, such as reports, and are left out: 'REPORT'" in capsys.readouterr().out


def test_pseudonyms_are_the_same_for_a_patient_and_hide_all_identifiers(tmp_path, capsys):
    (tmp_path / "key").write_text(KEY)
    plain = dicom_tag_table.write_tag_table(export(tmp_path / "e"), "test", str(tmp_path / "plain.csv"))
    table = dicom_tag_table.write_tag_table(str(tmp_path / "e"), "test", str(tmp_path / "t.csv"), str(tmp_path / "key"))
    written = (tmp_path / "t.csv").read_text()
    for column, sign in (("patient_id", "P"), ("lesion_id", "L")):
        codes = dict(zip(plain[column], table[column], strict=True))
        assert len(set(codes.values())) == len(codes)
        assert codes.pop("") == ""
        assert all(code.startswith(sign) and len(code) == 21 for code in codes.values())
    assert table["visit"].tolist() == plain["visit"].tolist()
    for hidden in ("4711", "1.2.3.9", "mole", "Doe", "2021", KEY):
        assert hidden not in written
    out = capsys.readouterr().out
    assert KEY not in out
    assert "hold the ID or name" not in out
    again = dicom_tag_table.write_tag_table(str(tmp_path / "e"), "test", str(tmp_path / "u.csv"), str(tmp_path / "key"))
    assert again.equals(table)


def test_a_zero_among_names_is_an_unknown_patient_and_gets_no_code(tmp_path, capsys):
    (tmp_path / "key").write_text(KEY)
    for name, patient in (("a", "0"), ("b", "P1"), ("c", "0"), ("d", "P2")):
        (tmp_path / f"{name}.dcm").write_bytes(made(PatientID=patient))
    table = dicom_tag_table.write_tag_table(str(tmp_path), "test", str(tmp_path / "t.csv"), str(tmp_path / "key"))
    assert (table["patient_id"] != "").tolist() == [False, True, False, True]
    assert "patient_id is PatientID" not in capsys.readouterr().out
    dicom_tag_table.write_tag_table(str(tmp_path), "test", str(tmp_path / "plain.csv"))
    assert "note: patient_id is PatientID as the files have it; --pseudonyms=KEYFILE" in capsys.readouterr().out


def test_names_that_hold_the_patient_are_noted_with_pseudonyms(tmp_path, capsys):
    (tmp_path / "key").write_text(KEY)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "jane_doe.dcm").write_bytes(made(PatientID="7", PatientName="Doe^Jane"))
    (tmp_path / "a" / "scan.dcm").write_bytes(made(PatientID="7", PatientName="Doe^Jane"))
    dicom_tag_table.write_tag_table(str(tmp_path / "a"), "test", str(tmp_path / "t.csv"), str(tmp_path / "key"))
    note = "note: 1 names of files or their directories hold the ID or name of the patient, and image names are part of"
    assert note in capsys.readouterr().out


def test_a_key_is_not_overwritten_and_two_files_of_a_name_are_refused(tmp_path):
    (tmp_path / "key").write_text(KEY)
    with pytest.raises(errors.ConfigError, match="are both .*key, expected two files; rename one"):
        dicom_tag_table.write_tag_table(export(tmp_path / "e"), "test", f"{tmp_path}/./key", str(tmp_path / "key"))
    assert (tmp_path / "key").read_text() == KEY
    (tmp_path / "e" / "IMG2.jpg").write_bytes(JPEG)
    with pytest.raises(errors.IsicError, match=r"some names have more: 'IMG2' \(.*IMG2.jpg, .*P1/S2/IMG2\); remove"):
        dicom_tag_table.write_tag_table(str(tmp_path / "e"), "test", str(tmp_path / "t.csv"))


def test_files_in_an_archive_are_read_in_place(tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("DICOM/IMG1", made(PatientID="p1"))
    table = dicom_tag_table.write_tag_table(str(tmp_path / "export.zip"), "test", str(tmp_path / "t.csv"))
    assert table[["image_name", "patient_id"]].to_numpy().tolist() == [["IMG1", "p1"]]
