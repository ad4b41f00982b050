"""The command writes a table with its report; commands read published tables as --csv."""

import json
import re

import pandas as pd
import pytest
from harness import ROOT

from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables
from tfrecord_tools.splits import fold_table
from tfrecord_tools.table_formats import table_files
from tfrecord_tools.table_formats.config import TablesConfig

TRUTH = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK\nISIC_1,1,0,0,0,0,0,0,0,0\nISIC_2,0,1,0,0,0,0,0,0,0\n"
TRUTH += "ISIC_3,0,0,0,1,0,0,0,0,0\n"
METADATA = "image,age_approx,anatom_site_general,lesion_id,sex,area\nISIC_1,45,head/neck,L1,male,1.5\n"
METADATA += "ISIC_2,50,,L2,female,2\nISIC_3,50,,L2,female,3\n"


@pytest.fixture
def paths(tmp_path):
    (tmp_path / "truth.csv").write_text(TRUTH)
    (tmp_path / "metadata.csv").write_text(METADATA)
    return f"{tmp_path / 'truth.csv'},{tmp_path / 'metadata.csv'}"


def test_the_command_writes_the_table_and_the_report_beside_it(paths, tmp_path, capsys):
    output = tmp_path / "out" / "train.csv"
    returned = table_files.normalize_tables(TablesConfig(tables=paths, output=str(output), keep=("area",)))
    written = pd.read_csv(output, dtype=str, keep_default_na=False)
    assert written.to_dict("list") == returned.to_dict("list")
    assert written["area"].tolist() == ["1.5", "2"]
    text = (tmp_path / "out" / "train.csv.report.txt").read_text()
    report = json.loads((tmp_path / "out" / "train.csv.report.json").read_text())
    assert report == returned.attrs["report"]
    out = capsys.readouterr().out
    assert text in out
    assert "policy: target 1 is melanoma alone" in text
    assert f"2 rows in {output}" in out


def test_a_table_in_the_packages_columns_is_read_as_ever(tmp_path, capsys):
    path = tmp_path / "train.csv"
    path.write_text("image_name,patient_id,sex,target,x\nISIC_1,IP_1,F,1,5\n")
    columns = ("image_name", "target")
    pd.testing.assert_frame_equal(
        table_files.read_tables(str(path), columns), csv_tables.read_table(str(path), columns)
    )
    # A column `target` is the user's own label, whatever the other columns are called.
    path.write_text(TRUTH.replace("UNK", "target").replace("0,0\n", "0,1\n"))
    pd.testing.assert_frame_equal(
        table_files.read_tables(str(path), columns), csv_tables.read_table(str(path), columns)
    )
    assert "target 1 is" not in capsys.readouterr().out


def test_a_published_table_is_normalized_and_the_log_says_so(paths, capsys):
    table = table_files.read_tables(paths, ("image_name", "patient_id", "target"))
    assert table["image_name"].tolist() == ["ISIC_1", "ISIC_2"]
    assert table["target"].tolist() == ["1", "0"]
    assert table["area"].tolist() == ["1.5", "2"]
    out = capsys.readouterr().out
    assert "is read as ISIC 2019, ground truth, ISIC 2019, metadata: 2 of 3 images; target 1 is melanoma alone" in out
    assert "1 left out, since its diagnosis is indeterminate" in out


def test_commands_without_labels_keep_all_images(paths, capsys):
    table = table_files.read_tables(paths, ("image_name",), keep_unlabeled=True)
    assert table["target"].tolist() == ["1", "0", ""]
    out = capsys.readouterr().out
    assert "3 of 3 images" in out
    assert "images with an indeterminate diagnosis have no target" in out
    assert "left out" not in out


def test_a_published_table_with_other_separators_is_read_too(tmp_path):
    (tmp_path / "truth.tsv").write_text(TRUTH.replace(",", "\t"))
    table = table_files.read_tables(str(tmp_path / "truth.tsv"), ("image_name", "target"))
    assert table[["image_name", "target"]].to_numpy().tolist() == [["ISIC_1", "1"], ["ISIC_2", "0"]]


def test_other_tables_are_refused_as_ever(tmp_path):
    (tmp_path / "a.csv").write_text("photo,sex\na,male\n")
    with pytest.raises(errors.IsicError, match="needs the columns image_name; it has only photo, sex"):
        table_files.read_tables(str(tmp_path / "a.csv"), ("image_name",))
    with pytest.raises(errors.IsicError, match=r"none.csv not found"):
        table_files.read_tables(str(tmp_path / "none.csv"), ("image_name",))


def example(kind):
    """The example of a format in the guide."""
    page = (ROOT / "docs" / "guides" / "external_tables.md").read_text()
    (text,) = re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    return text


def test_the_examples_of_the_guide_read_tables_of_their_form(tmp_path):
    (tmp_path / "clinic.yaml").write_text(example("yaml"))
    (tmp_path / "study.json").write_text(example("json"))
    lines = [
        "photo,case,gender,age,histology,impression,diameter_mm",
        "a.jpg,7,w,45,,MM,3",
        "b.jpg,8,m,,dysplastic,MM,4",
    ]
    (tmp_path / "clinic.csv").write_text("\n".join(lines))
    lines = ["file,lesion,MEL,NV,OTH,malignant", "c,1,1,0,0,yes", "d,2,0,0,1,no", "e,3,0,1,0,no"]
    (tmp_path / "study.csv").write_text("\n".join(lines))
    config = TablesConfig(
        tables=(str(tmp_path / "clinic.csv"), str(tmp_path / "study.csv")),
        format=(str(tmp_path / "clinic.yaml"), str(tmp_path / "study.json")),
        keep=("diameter_mm",),
        policy="malignant",
    )
    table = table_files.normalize_tables(config)
    columns = ["image_name", "patient_id", "lesion_id", "sex", "target", "source", "diameter_mm"]
    assert table[columns].to_numpy().tolist() == [
        ["a", "clinic-berlin_7", "", "female", "1", "clinic-berlin", "3"],
        ["b", "clinic-berlin_8", "", "male", "0", "clinic-berlin", "4"],
        ["c", "", "study_1", "", "1", "study", ""],
        ["d", "", "study_2", "", "0", "study", ""],
        ["e", "", "study_3", "", "0", "study", ""],
    ]


@pytest.mark.realdata
def test_the_real_tables_of_isic_2019_have_their_known_counts(real_data):
    tables = tuple(str(real_data / "tables" / f"ISIC_2019_Training_{name}.csv") for name in ("GroundTruth", "Metadata"))
    table = table_files.normalize_tables(TablesConfig(tables=tables, indeterminate="benign"))
    assert len(table) == 25_331
    assert (table["target"] == "1").sum() == 4_522
    assert (table["lesion_id"] == "").sum() == 2_084
    report = table.attrs["report"]
    assert report["not_understood"] == []
    assert report["dropped"] == {}
    assert (table_files.normalize_tables(TablesConfig(tables=tables))["target"] == "0").sum() == 19_942


def test_folds_are_made_of_published_tables(paths, tmp_path):
    config = fold_table.FoldsConfig(csv=paths, output=str(tmp_path / "folds.csv"), num_folds=2)
    assert fold_table.make_folds(config)["image_name"].tolist() == ["ISIC_1", "ISIC_2"]
