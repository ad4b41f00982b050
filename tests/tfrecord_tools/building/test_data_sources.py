import re
import zipfile

import h5py
import numpy as np
import pandas as pd
import pytest
from shard_files import JPEG, write_shard

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
    rows, _ = data_sources.read_images(str(tmp_path / "t.csv"), str(tmp_path / "in"), "train")
    assert rows["path"].tolist() == [str(tmp_path / "in" / name) for name in ("b.png", "a.jpg")]
    assert rows[["offset", "length"]].to_numpy().tolist() == [[0, 0]] * 2
    assert rows["integers"].tolist() == [
        {"sex": 0, "target": 1, "patient_id": 0},
        {"sex": -1, "target": 0, "patient_id": 1},
    ]


@pytest.mark.parametrize(("split", "names"), [("train", ["a"]), ("test", ["a", "b"])])
def test_a_published_table_is_read_and_only_training_needs_a_target(tmp_path, split, names):
    (tmp_path / "in").mkdir()
    for name in names:
        (tmp_path / "in" / f"{name}.jpg").touch()
    (tmp_path / "t.csv").write_text("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC\na,1,0,0,0,0,0,0,0\nb,0,0,0,1,0,0,0,0\n")
    rows, _ = data_sources.read_images(str(tmp_path / "t.csv"), str(tmp_path / "in"), split)
    assert rows["image_name"].tolist() == names


def test_names_of_a_table_in_another_spelling_become_those_of_the_files(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("ISIC_0000001.jpg", "ISIC_0000002.jpg"):
        (tmp_path / "in" / name).touch()
    csv = tmp_path / "t.csv"
    csv.write_text("isic_id,patient_id,target\nISIC_0000002,p,1\ntrain/isic_1.JPG,q,0\n")
    rows, _ = data_sources.read_images(str(csv), str(tmp_path / "in"), "train")
    assert rows["image_name"].tolist() == ["ISIC_0000002", "ISIC_0000001"]
    out = capsys.readouterr().out
    assert "t.csv: the column isic_id is read as image_name" in out
    assert "note: 1 images are spelled in another way in" in out


def test_a_name_that_leads_outside_the_directory_is_still_refused(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").touch()
    (tmp_path / "t.csv").write_text("image_name,patient_id,target\na,p,1\n../b,q,0\n")
    with pytest.raises(ValueError, match="1 image names that are blank or lead outside the directory: '../b'"):
        data_sources.read_images(str(tmp_path / "t.csv"), str(tmp_path / "in"), "train")


def test_names_of_a_table_in_another_spelling_become_those_of_the_records(tmp_path):
    shard = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "ISIC_0000001", "sex": 0}])
    (tmp_path / "t.csv").write_text("image_name,patient_id,target,sex\nisic_1.jpg,p,1,female\n")
    rows = data_sources.read_records(shard, str(tmp_path / "t.csv"), "train")
    assert rows[["image_name", "integers"]].to_numpy().tolist() == [
        ["ISIC_0000001", {"sex": 1, "target": 1, "patient_id": 0}]
    ]


def test_a_table_of_other_images_is_refused_with_a_name_of_each_side(tmp_path):
    shard = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "b"}])
    (tmp_path / "t.csv").write_text("image_name,patient_id,target\nx,p,1\n")
    with pytest.raises(ValueError, match=r"1 records that are not in the table: 'b' \(its first image is 'x'\)"):
        data_sources.read_records(shard, str(tmp_path / "t.csv"), "train")


def test_codes_outside_the_schema_and_unused_columns_are_noted(tmp_path, capsys):
    record = {"image_name": "b", "target": 1, "sex": 3, "age_approx": 999}
    shard = write_shard(tmp_path, "train00-1.tfrec", [record])
    data_sources.read_records(shard, None, "train")
    out = capsys.readouterr().out
    assert "sex must be from -1 to 1, 1 records have other numbers (3), so they may have another code book" in out
    assert "age_approx must be from -1 to 120, 1 records have other numbers (999)" in out
    (tmp_path / "t.csv").write_text("image_name,patient_id,target,sex,age,clinic\nb,p,1,male,50,X\n")
    rows = data_sources.read_records(shard, str(tmp_path / "t.csv"), "train")
    assert rows["integers"].tolist() == [{"sex": 0, "age_approx": 50, "target": 1, "patient_id": 0}]
    assert "t.csv: columns that are not used: clinic" in capsys.readouterr().out


def test_columns_with_the_names_of_places_do_not_displace_those_of_the_records(tmp_path):
    shard = write_shard(tmp_path, "train00-1.tfrec", [{"image_name": "a"}])
    (tmp_path / "t.csv").write_text("image_name,patient_id,target,path,offset,integers\na,p,1,x,7,9\n")
    rows = data_sources.read_records(shard, str(tmp_path / "t.csv"), "train")
    assert rows[["path", "offset", "integers"]].to_numpy().tolist() == [[shard, 0, {"target": 1, "patient_id": 0}]]


def test_values_of_records_that_a_table_has_no_column_for_are_counted(tmp_path, capsys):
    records = [{"image_name": "a", "target": 1, "sex": 1}, {"image_name": "b", "target": 0, "sex": -1}]
    shard = write_shard(tmp_path, "train00-2.tfrec", records)
    (tmp_path / "t.csv").write_text("image_name,patient_id,target\na,p,1\nb,q,0\n")
    rows = data_sources.read_records(shard, str(tmp_path / "t.csv"), "train")
    assert rows["integers"].tolist() == [{"target": 1, "patient_id": 0}, {"target": 0, "patient_id": 1}]
    assert "t.csv has no sex, so that of 1 records is left out; add the column to keep it" in capsys.readouterr().out


def test_one_patient_in_several_spellings_has_one_number_and_words_for_unknown_have_none():
    patients = pd.Series(["IP_7", "ip_7 ", "unknown", "IP_\u200b7", "007", "7.0", "-1"])
    assert data_sources.patient_codes(patients).tolist() == [0, 0, -1, 0, 1, 1, -1]


def test_image_files_of_equal_bytes_have_equal_digests(tmp_path):
    (tmp_path / "in").mkdir()
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one"), ("d", b"other")):
        (tmp_path / "in" / f"{name}.jpg").write_bytes(content)
    (tmp_path / "t.csv").write_text("image_name,patient_id\na,\nb,\nc,\nd,\n")
    digests = data_sources.read_images(str(tmp_path / "t.csv"), str(tmp_path / "in"), "test")[0]["image_digest"]
    assert digests[0] == digests[2] != digests[1]
    # No other file has the size of d.
    assert digests[3] == ""


def test_records_keep_the_lesions_of_their_index_where_the_table_has_none(tmp_path):
    shard = write_shard(tmp_path, "test00-1.tfrec", [{"image_name": "a"}])
    (tmp_path / "test.index.csv").write_text(
        "shard,position,image_name,patient_id,target,fold,lesion_id\ntest00-1.tfrec,0,a,,,,L1\n"
    )
    csv = tmp_path / "t.csv"
    csv.write_text("image_name,patient_id\na,p\n")
    assert data_sources.read_records(shard, str(csv), "test")["lesion_id"].tolist() == ["L1"]
    csv.write_text("image_name,patient_id,lesion_id\na,p,L2\n")
    assert data_sources.read_records(shard, str(csv), "test")["lesion_id"].tolist() == ["L2"]


def test_rows_without_a_file_are_refused_unless_allowed_and_files_without_a_row_counted(tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "c.jpg"):
        (tmp_path / "in" / name).touch()
    csv = tmp_path / "t.csv"
    csv.write_text("image_name,patient_id,target\na,p,1\nb,q,0\n")
    with pytest.raises(ValueError, match="1 listed images without a file: 'b'; add .* --missing_images=skip"):
        data_sources.read_images(str(csv), str(tmp_path / "in"), "train")
    capsys.readouterr()
    rows, missing = data_sources.read_images(str(csv), str(tmp_path / "in"), "train", "skip")
    assert missing == ["b"]
    assert rows["image_name"].tolist() == ["a"]
    out = capsys.readouterr().out.splitlines()
    assert out[0] == f"note: 1 images of {tmp_path}/in are not in {csv} and are ignored (first: c)"
    assert out[1] == f"note: 1 images of {csv} have no file in {tmp_path}/in (first: b)"
    (tmp_path / "in" / "a.jpg").unlink()
    with pytest.raises(ValueError, match="2 listed images without a file"):
        data_sources.read_images(str(csv), str(tmp_path / "in"), "train", "skip")


def test_images_in_archives_and_hdf5_files_are_rows_like_files(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name in ("x/ISIC_1.jpg", "y/ISIC_2.JPG", "y/ISIC_4.jpg"):
            archive.writestr(name, JPEG if name != "y/ISIC_4.jpg" else JPEG + b"appended")
    with h5py.File(tmp_path / "b.hdf5", "w") as file:
        file["ISIC_3"] = np.bytes_(JPEG)
    (tmp_path / "t.csv").write_text("image_name,patient_id\nISIC_3,p\nx/ISIC_1,q\nISIC_2.JPG,r\nisic_4,s\n")
    sources = f"{tmp_path}/a.zip,{tmp_path}/b.hdf5"
    rows, missing = data_sources.read_images(str(tmp_path / "t.csv"), sources, "test")
    assert rows["image_name"].tolist() == ["ISIC_3", "ISIC_1", "ISIC_2", "ISIC_4"]
    assert rows["path"].tolist() == [
        f"{tmp_path}/b.hdf5::ISIC_3",
        *(f"{tmp_path}/a.zip::{name}" for name in ("x/ISIC_1.jpg", "y/ISIC_2.JPG", "y/ISIC_4.jpg")),
    ]
    assert missing == []
    digests = rows["image_digest"].tolist()
    assert digests[0] == digests[1] == digests[2] != ""
    assert digests[3] == ""
    assert data_sources.list_file_types(rows) == ["hdf5", "jpg"]


def test_two_files_of_a_name_are_an_error_that_lists_both_unless_the_table_tells_them_apart(tmp_path):
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "i.jpg").write_bytes(JPEG)
    csv = tmp_path / "t.csv"
    csv.write_text("image_name,patient_id\ni,p\n")
    message = f"1 images with more than one file: 'i' ({tmp_path}/a/i.jpg, {tmp_path}/b/i.jpg); remove"
    with pytest.raises(ValueError, match=re.escape(message)):
        data_sources.read_images(str(csv), f"{tmp_path}/a,{tmp_path}/b", "test")
    csv.write_text("image_name,patient_id\nb/i.jpg,p\na/i.jpg,q\n")
    rows, _ = data_sources.read_images(str(csv), str(tmp_path), "test")
    assert rows[["image_name", "path"]].to_numpy().tolist() == [
        ["b_i", f"{tmp_path}/b/i.jpg"],
        ["a_i", f"{tmp_path}/a/i.jpg"],
    ]


def test_a_lesion_does_in_place_of_a_patient(tmp_path):
    (tmp_path / "a.jpg").touch()
    (tmp_path / "t.csv").write_text("image_id,lesion_id,target\na,HAM_1,1\n")
    rows, _ = data_sources.read_images(str(tmp_path / "t.csv"), str(tmp_path), "train")
    assert rows[["patient_id", "lesion_id"]].to_numpy().tolist() == [["", "HAM_1"]]
