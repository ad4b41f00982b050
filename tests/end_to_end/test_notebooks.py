"""The notebooks run from top to bottom on a synthetic data set, laid out like Kaggle's input directory."""

import importlib.metadata
import inspect
import os
import pathlib
import shutil
import types

import cv2
import nbclient
import nbformat
import numpy as np
import pytest
from harness import ENVIRONMENT, ROOT, tiny_trunk
from notebook_cells import read, source
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from shard_files import write_shard

from isic_tf.artifacts import submission_format
from tfrecord_tools.building import data_sources
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import csv_tables, record_index

NOTEBOOKS = ("colab_tpu", "kaggle_tpu")

SMALL = """
REPOSITORY = {root!r}
DATA = {data!r}
TRAIN_ON = ""
EXTRA = "isic2019-*"
DUPLICATES = {duplicates!r}
NUM_FOLDS = 2
FOLD = "0"
IMAGE_SIZE = 32
CONFIG = ["--weights=none", "--epochs=1", "--global_batch_size=8", "--warmup_epochs=0", "--augment_policy=none"]
CONFIG += ["--optimizer=sgd", "--strategy=default"]
TTA = 2
WORK = {work!r}
SCRATCH = {scratch!r}
"""


def write_sets(made_up, directory, side, num_shards, with_patients):
    """Writes both splits under Kaggle's names, patients spread over shards; Deotte's records have numbered patients."""
    directory.mkdir(parents=True)
    for split in ("train", "test"):
        table = csv_tables.read_table(str(made_up / f"{split}.csv"), ("image_name",))
        coded = data_sources.code_rows(table, split)
        for row in () if with_patients else coded:
            del row["patient_id"]
        named = [{"image_name": name, **row} for name, row in zip(table["image_name"], coded, strict=True)]
        for shard in range(num_shards):
            rows = named[shard::num_shards]
            pictures = [cv2.imread(str(made_up / "jpeg" / split / f"{row['image_name']}.jpg")) for row in rows]
            jpegs = [codec.encode(cv2.resize(picture, (side, side)), 90) for picture in pictures]
            write_shard(directory, f"{split}{shard:02d}-{len(rows)}.tfrec", rows, jpegs)


@pytest.fixture(scope="module")
def kaggle(made_up, tmp_path_factory):
    """Kaggle's input directory: the competition's data, and Deotte's records of 2020 and of 2019 at 32 px."""
    directory = tmp_path_factory.mktemp("input")
    official = directory / "competitions" / "siim-isic-melanoma-classification"
    write_sets(made_up, official / "tfrecords", 64, 3, with_patients=False)
    write_sets(made_up, directory / "datasets" / "someone" / "melanoma-32x32", 32, 2, with_patients=True)
    for name in ("train.csv", "test.csv", "sample_submission.csv"):
        (official / name).write_bytes((made_up / name).read_bytes())
    # Other data sets hold tables next to their records too, which must not be used instead of the competition's.
    (directory / "datasets" / "someone" / "melanoma-32x32" / "sample_submission.csv").write_text(
        "image_name,target\nx,0\n"
    )
    small = codec.encode(np.full((32, 32, 3), 128, np.uint8), 90)
    rows = [{"image_name": f"ISIC_2019{number}", "patient_id": -1, "target": number % 2} for number in range(4)]
    write_shard(directory / "datasets" / "someone" / "isic2019-32x32", "train00-4.tfrec", rows, [small] * 4)
    return directory


def execute(name, parameters, monkeypatch):
    """Runs a notebook with other parameters; returns the text and the output types of each code cell."""
    notebook = read(name)
    next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))["source"] = parameters
    notebook.cells.append(nbformat.v4.new_code_cell("import sys\nprint('tensorflow' in sys.modules)"))
    for variable in ("TPU_NAME", "COLAB_TPU_ADDR", "TF_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    # Nothing may be downloaded.
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [cell.outputs for cell in notebook.cells if cell.cell_type == "code"]
    texts = ["".join(output.get("text", "") for output in cell) for cell in outputs]
    kinds = [{kind for output in cell for kind in output.get("data", {})} for cell in outputs]
    return texts, kinds


def list_files(directory):
    return sorted(str(path) for path in directory.rglob("*"))


def check_outputs(texts, kinds, work, sample):
    """Checks what both notebooks must show and write."""
    _, _, installed, checked, _, _, _, dry_run, _, again, predicted, _, loaded = texts
    assert installed == "installed\n"
    assert checked.startswith("Python 3.")
    assert "; resolver none; DefaultDistributionStrategy: 1 replica(s) on CPU; " in checked
    assert checked.count("\n") == 1
    assert "Nothing was written" in dry_run
    assert "fold0 is already trained" in again
    assert "images in the order of the sample" in predicted
    # The contact sheet, the training curves, and the report.
    assert ["image/png" in kinds[6], "image/png" in kinds[8], "text/html" in kinds[11]] == [True] * 3
    # The notebook itself does not load TensorFlow, which would claim the TPU.
    assert loaded == "False\n"
    submission_format.validate_submission(
        submission_format.SubmissionConfig(submission=str(work / "submission.csv"), sample_submission=sample)
    )
    assert "<html" in (work / "report.html").read_text()


def test_both_notebooks_run_from_top_to_bottom_and_resume_an_interrupted_session(kaggle, tmp_path, monkeypatch):
    before = list_files(kaggle)
    work = tmp_path / "working"
    sets = tmp_path / "scratch" / "records"
    official = kaggle / "competitions" / "siim-isic-melanoma-classification"
    sample = str(official / "sample_submission.csv")
    (tmp_path / "pairs.csv").write_text("image_name_1,image_name_2\nelsewhere,nowhere\n")
    # A copy of the repository with a network that trains in a second, and that requires only what is installed here.
    root = tmp_path / "isic-tf"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns(".*", "tests", "demo", "*.egg-info"))
    with open(root / "isic_tf" / "models" / "backbones.py", "a") as file:
        file.write(f"\n\nimport tensorflow as tf\n\n\n{inspect.getsource(tiny_trunk)}\n\nbuild_backbone = tiny_trunk\n")
        # Nothing is downloaded for it.
        file.write("\n\ndef find_sources(*_):\n    pass\n")
    listed = root / "experiments" / "requirements" / "tpu_requirements.txt"
    installed = {canonicalize_name(found.name) for found in importlib.metadata.distributions()}
    lines = [line for line in listed.read_text().splitlines() if not line.startswith("#")]
    listed.write_text("\n".join(line for line in lines if canonicalize_name(Requirement(line).name) in installed))
    paths = {"root": str(root), "data": str(kaggle), "duplicates": str(tmp_path / "pairs.csv"), "work": str(work)}
    parameters = SMALL.format(scratch=str(tmp_path / "scratch"), **paths)
    texts, kinds = execute("kaggle_tpu", parameters, monkeypatch)
    check_outputs(texts, kinds, work, sample)
    assert "fold0 epoch 1/1" in texts[8]
    # Of two sets, the one nearest to IMAGE_SIZE is trained on, together with the set of 2019; the other is not used.
    assert "training set: melanoma-32x32; extra sets: isic2019-32x32" in texts[5]
    assert sorted(os.listdir(sets)) == ["isic2019-32x32", "melanoma-32x32"]
    index = record_index.read_index(str(sets / "melanoma-32x32"), "train")
    assert index["patient_id"].str.startswith("IP_").all()
    assert (index.groupby("patient_id")["shard"].nunique() > 1).any()
    assert set(index["fold"]) == {0, 1}
    assert "isic2019-32x32: 2 malignant of 2, 2 benign of 2" in texts[7]

    # A session ends after the last checkpoint and before the evaluation; another one resumes, with an empty scratch.
    first = (work / "submission.csv").read_text()
    for path in (work / "submission.csv", work / "run" / "fold0" / "metrics.json", work / "run" / "fold0" / "oof.csv"):
        path.unlink()
    parameters = SMALL.format(scratch=str(tmp_path / "anew"), **paths)
    texts, kinds = execute("colab_tpu", parameters, monkeypatch)
    check_outputs(texts, kinds, work, sample)
    assert ", resuming after step " in texts[8]
    assert "fold0 epoch 1/1" not in texts[8]
    assert (work / "submission.csv").read_text() == first
    # Nothing was written to the input directories, which are read-only on Kaggle.
    assert list_files(kaggle) == before


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_is_committed_without_outputs(name):
    notebook = read(name)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    assert cells[0].source == source(notebook, "parameters")


def test_the_notebooks_differ_only_in_the_title_the_parameters_and_the_storage():
    sources = [[cell.source for cell in read(name).cells] for name in NOTEBOOKS]
    # Title, parameters, storage.
    assert [number for number, pair in enumerate(zip(*sources, strict=True)) if pair[0] != pair[1]] == [0, 1, 3]


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_parameters_are_the_ones_that_the_tests_set(name):
    given = {}
    tested = {}
    exec(source(read(name), "parameters"), given)
    exec(SMALL.format(root="", data="", work="", scratch="", duplicates=""), tested)
    assert given.keys() == tested.keys()
    flagfile = given["CONFIG"][0].removeprefix("--flagfile=")
    assert (ROOT / flagfile).is_file()
    flags = [*(ROOT / flagfile).read_text().splitlines(), *given["CONFIG"][1:]]
    found = dict(flag.removeprefix("--").split("=", 1) for flag in flags if flag.startswith("--"))
    assert int(found["image_size"]) == given["IMAGE_SIZE"]
    # Colab has one chip, Kaggle eight: each takes a multiple of eight images at a time, and no more than fit by the
    # table of docs/compatibility.md.
    cores = {"colab_tpu": 1, "kaggle_tpu": 8}[name]
    at_once = int(found["global_batch_size"]) / cores / int(found.get("gradient_accumulation_steps", 1))
    assert at_once == {"colab_tpu": 128, "kaggle_tpu": 16}[name]


def mount(name, tmp_path, monkeypatch, **parameters):
    """Runs the storage cell with a stand-in for Colab's package; returns the calls to it."""
    calls = []
    drive = types.SimpleNamespace(mount=lambda path: calls.append(path))
    auth = types.SimpleNamespace(authenticate_user=lambda: calls.append("auth"))
    monkeypatch.setitem(__import__("sys").modules, "google.colab", types.SimpleNamespace(drive=drive, auth=auth))
    monkeypatch.setattr(os, "makedirs", lambda path, exist_ok: None)
    exec(read(name).cells[3].source, {"REPOSITORY": "", "DUPLICATES": "", **parameters})
    return calls


def test_colab_mounts_the_drive_and_signs_in_only_where_they_are_used(tmp_path, monkeypatch):
    work = "/content/drive/MyDrive/isic-work"
    assert mount("colab_tpu", tmp_path, monkeypatch, WORK=work, DATA=work) == ["/content/drive"]
    assert mount("colab_tpu", tmp_path, monkeypatch, WORK=str(tmp_path), DATA="gs://bucket/directory") == ["auth"]
    assert mount("colab_tpu", tmp_path, monkeypatch, WORK="/content/work", DATA=work) == ["/content/drive"]
    assert mount("kaggle_tpu", tmp_path, monkeypatch, WORK=str(tmp_path), DATA="/kaggle/input") == []


def find_data(tmp_path, data, train=False):
    """Runs the cell that searches for the data; returns its variables."""
    if train:
        (data / "sample_submission.csv").write_text("")
        (data / "train00-1.tfrec").write_text("")
    cell = next(cell.source for cell in read("kaggle_tpu").cells if cell.source.startswith("import fnmatch"))
    space = {"DATA": str(data), "HOME": str(tmp_path)}
    exec("import glob, os, subprocess, sys\n" + cell, space)
    return space


def test_record_sets_are_found_and_named_after_their_directories(kaggle, tmp_path):
    space = find_data(tmp_path, kaggle)
    assert sorted(space["SETS"]) == ["isic2019-32x32", "melanoma-32x32", "siim-isic-melanoma-classification"]
    assert space["TABLES"] == str(kaggle / "competitions" / "siim-isic-melanoma-classification")


def test_a_bucket_holds_one_set_with_its_tables(tmp_path):
    space = find_data(tmp_path, "gs://bucket/melanoma-384x384")
    assert space["SETS"] == {"melanoma-384x384": "gs://bucket/melanoma-384x384"}
    assert space["TABLES"] == "gs://bucket/melanoma-384x384"


def test_a_directory_without_data_is_refused_with_a_remedy(tmp_path):
    with pytest.raises(SystemExit, match="Expected train.*tfrec and sample_submission.csv below .*change DATA"):
        find_data(tmp_path, tmp_path)


def index_sets(tmp_path, sides, image_size=32, bucket="", **parameters):
    """Runs the index cell with a command that only writes the image size; returns the variables and the calls."""
    cell = next(cell.source for cell in read("kaggle_tpu").cells if cell.source.startswith("FOLDS"))
    calls = []
    sets = {name: f"{bucket or tmp_path / 'data'}/{name}" for name in sides}
    for directory in () if bucket else map(pathlib.Path, sets.values()):
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("train00-1.tfrec", "train01-1.tfrec"):
            (directory / name).write_bytes(b"")

    def run(module, *flags):
        calls.append((module, *flags))
        for flag in flags:
            if flag.startswith("--output=") and module == "tfrecord_tools.index":
                directory = pathlib.Path(flag.removeprefix("--output="))
                directory.mkdir(parents=True, exist_ok=True)
                (directory / "train.manifest.json").write_text(f'{{"image_size": {sides[directory.name]}}}')

    space = {
        "WORK": "/work",
        "SCRATCH": str(tmp_path),
        "DUPLICATES": "",
        "NUM_FOLDS": 5,
        "TRAIN_ON": "",
        "SETS": sets,
        "EXTRA": "isic2019-*",
        "IMAGE_SIZE": image_size,
        "TABLES": "/tables",
        "run": run,
        **parameters,
    }
    exec("import fnmatch, glob, json, re\n" + cell, space)
    return space, calls


@pytest.mark.parametrize(("size", "chosen"), [(256, "b"), (384, "b"), (512, "a"), (2048, "a")])
def test_the_set_with_the_smallest_sufficient_images_is_trained_on(size, chosen, tmp_path):
    space, calls = index_sets(tmp_path, {"a": 1024, "b": 384, "c": "null", "isic2019-384x384": 384}, size)
    assert (space["MAIN_SET"], space["EXTRA_SETS"]) == (chosen, ["isic2019-384x384"])
    # The folds; the first shard of each candidate, for its image size; then the sets to train on.
    firsts = [f"--records={tmp_path}/data/{name}/train00-1.tfrec" for name in "abc"]
    assert [call[1] for call in calls[1:4]] == firsts
    indexed = [f"--records={tmp_path}/data/{name}/train*.tfrec" for name in (chosen, "isic2019-384x384")]
    assert [call[1] for call in calls[4:]] == indexed
    assert [len(call) for call in calls] == [4, 3, 3, 3, 5, 3]
    # With TRAIN_ON, the other sets are not examined.
    space, calls = index_sets(tmp_path, {"a": 1024, "b": 384}, size, TRAIN_ON="a")
    assert (space["MAIN_SET"], len(calls)) == ("a", 2)


def test_of_extra_sets_that_differ_only_in_image_size_one_is_used(tmp_path):
    sides = {"a-384x384": 384, "isic2019-384x384": 384, "isic2019-512x512": 512, "isic2019-other": 64}
    space, _ = index_sets(tmp_path, sides, 512)
    assert (space["MAIN_SET"], space["EXTRA_SETS"]) == ("a-384x384", ["isic2019-512x512", "isic2019-other"])


def test_an_unknown_training_set_is_named(tmp_path):
    with pytest.raises(SystemExit, match="TRAIN_ON must be one of a, b, got d"):
        index_sets(tmp_path, {"a": 1024, "b": 384}, TRAIN_ON="d")


def test_the_indexes_of_a_bucket_are_written_into_it(tmp_path):
    space, calls = index_sets(tmp_path, {"b": 384}, bucket="gs://bucket")
    assert space["RECORDS"] == {"b": "gs://bucket/b"}
    assert space["MAIN_SET"] == "b"
    assert calls[1:] == [
        ("tfrecord_tools.index", "--records=gs://bucket/b/train*.tfrec", "--csv=/tables/train.csv",
         "--folds=/work/folds.csv"),
        ("tfrecord_tools.index", "--records=gs://bucket/b/test*.tfrec", "--csv=/tables/test.csv"),
    ]  # fmt: skip


def test_the_run_of_an_earlier_session_that_is_an_input_is_resumed(tmp_path, capsys):
    earlier = tmp_path / "input" / "notebook" / "run" / "fold0"
    work = tmp_path / "work"
    earlier.mkdir(parents=True)
    (earlier / "history.csv").write_text("epoch\n")
    (earlier.parent / "flags.txt").write_text("--seed=0\n")
    space = find_data(tmp_path, tmp_path / "input", train=True)
    cell = next(cell.source for cell in read("kaggle_tpu").cells if cell.source.startswith("RUN ="))
    space |= {"WORK": str(work), "RECORDS": {"a": "/a"}, "MAIN_SET": "a", "EXTRA_SETS": [], "FOLD": "0", "CONFIG": []}
    space |= {"IMAGE_SIZE": 32, "DUPLICATES": "", "run": lambda *_: None}
    exec("import shutil\n" + cell, space)
    assert f"resuming a copy of {earlier.parent}" in capsys.readouterr().out
    assert (work / "run" / "fold0" / "history.csv").read_text() == "epoch\n"
    # Later in the session, the copy is the run.
    exec(cell, space)
    assert capsys.readouterr().out == ""


def test_a_command_that_fails_stops_the_notebook(kaggle, tmp_path, monkeypatch, capsys):
    space = find_data(tmp_path, kaggle)
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    capsys.readouterr()
    with pytest.raises(SystemExit, match="tfrecord_tools.folds failed with exit code 1; its last line says what to do"):
        space["run"]("tfrecord_tools.folds", "--csv=nowhere.csv", "--output=folds.csv")
    out = capsys.readouterr().out
    assert out.startswith("python -m tfrecord_tools.folds --csv=nowhere.csv --output=folds.csv\n")
    assert "ERROR: CSV file nowhere.csv not found" in out


def test_the_quickstart_goes_from_records_to_an_evaluation_in_25_lines(tmp_path, monkeypatch):
    notebook = read("quickstart")
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    assert len([line for line in lines if line.strip()]) <= 25
    assert not [cell for cell in notebook.cells if cell.get("outputs")]
    monkeypatch.setenv("PYTHONPATH", ENVIRONMENT["PYTHONPATH"])
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources).execute()
    batch, table, evaluated = [
        output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output
    ]
    assert "TensorShape([16, 64, 64, 3])" in batch["text/plain"]
    assert "prediction" in table["text/html"]
    assert "<svg" in evaluated["text/html"]
    printed = [output["text"] for output in notebook.cells[-1].outputs if output.output_type == "stream"]
    assert any("ROC AUC 0." in text and "interval (" in text for text in printed)
