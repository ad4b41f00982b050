import pandas as pd
import pytest
from shard_files import write_shard

from tfrecord_tools.building import data_sources


def test_codes_are_the_schemas_and_patients_are_numbered_in_order():
    table = pd.DataFrame(
        {"patient_id": ["q", "", "p", "q"], "sex": ["female", "", "male", "x"], "target": ["0", "1", "0", "1"]}
    )
    assert data_sources.code_rows(table, "train")[0] == {"sex": 1, "target": 0, "patient_id": 0}
    assert [row["patient_id"] for row in data_sources.code_rows(table, "test")] == [0, -1, 1, 0]
    assert "target" not in data_sources.code_rows(table, "test")[0]


def test_read_records_without_a_table_needs_targets_for_training_only(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "a", "target": 0}, {"image_name": "b"}])
    with pytest.raises(ValueError, match="1 records have no target: 'b'; give a table with targets as --csv"):
        data_sources.read_records(shard, None, "train")
    assert len(data_sources.read_records(shard, None, "test")) == 2


def test_a_table_replaces_the_values_of_records_except_the_original_size(tmp_path, capsys):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "b", "patient_id": 9, "target": 0, "width": 600}])
    csv = tmp_path / "train.csv"
    csv.write_text("image_name,patient_id,target,sex\na,p,0,male\nb,q,1,female\n")
    rows = data_sources.read_records(shard, str(csv), "train")
    assert rows["integers"].tolist() == [{"sex": 1, "target": 1, "patient_id": 1, "width": 600}]
    assert "note: 1 rows of" in capsys.readouterr().out


def test_records_that_a_table_does_not_list_are_reported_with_all_other_problems(tmp_path):
    shard = write_shard(tmp_path, "train00-2.tfrec", [{"image_name": "b"}])
    (tmp_path / "train.csv").write_text("image_name,patient_id,target\na,p,\n")
    with pytest.raises(ValueError, match="1 images without a target: .a.; 1 records that are not in the table: 'b'"):
        data_sources.read_records(shard, str(tmp_path / "train.csv"), "train")


def test_file_types_are_listed_once_in_lower_case():
    rows = pd.DataFrame({"path": ["d/a.JPG", "d.e/b.jpg", "gs://x/c.dcm", "d/none"]})
    assert data_sources.list_file_types(rows) == ["", "dcm", "jpg"]


def test_rows_of_images_have_their_paths_and_codes(tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "b.png"):
        (tmp_path / "in" / name).touch()
    (tmp_path / "t.csv").write_text("image_name,patient_id,target,sex\nb,p,1,male\na,q,0,\n")
    rows = data_sources.read_images(str(tmp_path / "t.csv"), str(tmp_path / "in"), "train")
    assert rows["path"].tolist() == [str(tmp_path / "in" / name) for name in ("b.png", "a.jpg")]
    assert rows[["offset", "length"]].to_numpy().tolist() == [[0, 0]] * 2
    assert rows["integers"].tolist() == [
        {"sex": 0, "target": 1, "patient_id": 0},
        {"sex": -1, "target": 0, "patient_id": 1},
    ]
