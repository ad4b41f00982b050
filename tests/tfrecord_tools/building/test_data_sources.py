import pandas as pd
import pytest
from dicom_files import made
from shard_files import JPEG, write_shard

from tfrecord_tools.building import data_sources
from tfrecord_tools.io import csv_tables


def test_codes_are_the_schemas_and_patients_are_numbered_in_order():
    table = pd.DataFrame(
        {"patient_id": ["q", "", "p", "q"], "sex": ["female", "", "male", "x"], "target": ["0", "1", "0", "1"]}
    )
    assert data_sources.code_rows(table, "train")[0] == {"sex": 1, "target": 0, "patient_id": 0}
    assert [row["patient_id"] for row in data_sources.code_rows(table, "test")] == [0, -1, 1, 0]
    assert "target" not in data_sources.code_rows(table, "test")[0]


def test_find_records_tells_places_sizes_and_integers(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a", "patient_id": 3, "target": 1, "sex": -1},
                                                       {"image_name": "b"}])  # fmt: skip
    table, entries = data_sources.find_records([shard], "train")
    assert table["patient_id"].tolist() == ["3", ""]
    assert table["target"].tolist() == ["1", ""]
    assert table["integers"].tolist() == [{"patient_id": 3, "target": 1, "sex": -1}, {}]
    assert table["offset"].tolist() == [0, table["length"][0] + 16]
    assert table["size"].tolist() == [(64, 48)] * 2
    assert entries[0]["records"] == 2
    assert data_sources.find_records([shard], "test")[0]["integers"].tolist() == [{"patient_id": 3, "sex": -1}, {}]


def test_find_records_takes_patients_from_an_index_beside_them(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a", "patient_id": 3}, {"image_name": "b"}])
    (tmp_path / "train.index.csv").write_text("shard,position,image_name,patient_id,target,fold\nx,0,a,IP_7,,\n")
    assert data_sources.find_records([shard], "train")[0]["patient_id"].tolist() == ["IP_7", ""]


def test_find_records_refuses_a_name_that_comes_twice(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a"}, {"image_name": "a"}])
    with pytest.raises(ValueError, match="must hold every image once, 1 come again, a first"):
        data_sources.find_records([shard], "train")


def test_read_records_without_a_table_needs_targets_for_training_only(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a", "target": 0}, {"image_name": "b"}])
    with pytest.raises(ValueError, match="1 records carry no target: 'b'; give --csv"):
        data_sources.read_records(shard, None, "train")
    assert len(data_sources.read_records(shard, None, "test")) == 2


def test_a_table_wins_over_records_but_for_the_originals_size(tmp_path, capsys):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "b", "patient_id": 9, "target": 0, "width": 600}])
    csv = tmp_path / "train.csv"
    csv.write_text("image_name,patient_id,target,sex\na,p,0,male\nb,q,1,female\n")
    rows = data_sources.read_records(shard, str(csv), "train")
    assert rows["integers"].tolist() == [{"sex": 1, "target": 1, "patient_id": 1, "width": 600}]
    assert "note: 1 rows of" in capsys.readouterr().out


def test_records_that_a_table_does_not_list_come_with_all_else_that_is_wrong(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "b"}])
    (tmp_path / "train.csv").write_text("image_name,patient_id,target\na,p,\n")
    with pytest.raises(ValueError, match="1 images without a target: .a.; 1 records that the table does not list: 'b'"):
        data_sources.read_records(shard, str(tmp_path / "train.csv"), "train")


def test_tags_become_a_table_with_targets_to_fill_in(tmp_path, capsys):
    (tmp_path / "a.dcm").write_bytes(made(PatientID="p1", PatientSex="M", PatientAge="050Y"))
    (tmp_path / "b.dcm").write_bytes(made(PatientID='"b"', BodyPartExamined="SKIN"))
    (tmp_path / "c.jpg").write_bytes(JPEG)
    data_sources.write_tags(str(tmp_path), "train", str(tmp_path / "t.csv"))
    assert (tmp_path / "t.csv").read_text().splitlines() == [
        "image_name,patient_id,sex,age_approx,anatom_site_general_challenge,target",
        "a,p1,male,50,,",
        "b,,,,,",
    ]
    assert "2 images in" in capsys.readouterr().out
    data_sources.write_tags(str(tmp_path), "test", str(tmp_path / "t.csv"))
    assert "target" not in (tmp_path / "t.csv").read_text()


def test_a_folder_without_dicom_has_no_tags(tmp_path):
    (tmp_path / "c.jpg").write_bytes(JPEG)
    with pytest.raises(ValueError, match="expected DICOM files in .*, found 1 images and none of them DICOM"):
        data_sources.write_tags(str(tmp_path), "train", str(tmp_path / "t.csv"))


@pytest.mark.realdata
def test_real_tags_have_no_quotes_and_name_no_patient(tmp_path, real_data):
    data_sources.write_tags(str(real_data / "isic2020" / "dicom"), "test", str(tmp_path / "t.csv"))
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
