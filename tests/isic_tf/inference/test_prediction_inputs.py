import pathlib

import pytest
from shard_files import write_shard

from isic_tf.inference import prediction_inputs
from isic_tf.inference.config import PredictFilesConfig
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("source", "records"),
    [
        ("records/test*.tfrec", True),
        ("records/test0[01]-7.tfrec", True),
        ("missing.tfrec", True),
        ("shard", True),
        ("gs://bucket/test?.tfrec", True),
        ("files", False),
        ("odd[name]", False),
    ],
)
def test_a_source_is_shards_or_a_directory(tmp_path, monkeypatch, source, records):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shard").write_bytes(b"")
    (tmp_path / "files").mkdir()
    (tmp_path / "odd[name]").mkdir()
    if source.startswith("gs://"):
        monkeypatch.setattr(prediction_inputs.filesystem, "isdir", lambda path: False)
    expected = (source, None) if records else (None, source)
    assert prediction_inputs.split_source(source) == expected
    if not source.startswith("gs://"):
        assert prediction_inputs.split_source(pathlib.Path(source)) == expected


def test_a_source_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(errors.ConfigError, match="expected a glob pattern of shards .* or directories, .*nowhere'"):
        prediction_inputs.split_source(tmp_path / "nowhere")


def test_records_are_units_by_shard_and_files_by_blocks(record_set, made_up, monkeypatch):
    paths = {"workdir": "", "output": ""}
    rows = prediction_inputs.list_rows(PredictFilesConfig(**paths, records=f"{record_set}/test*.tfrec"), {})
    assert (rows["unit"] == rows["shard"]).all()
    assert (rows["known_target"] == -1).all()
    # Patients tell which images the networks were trained on.
    assert "patient_code" in rows
    monkeypatch.setattr(prediction_inputs, "_FILES_PER_PART", 4)
    files = prediction_inputs.list_rows(PredictFilesConfig(**paths, images=str(made_up / "jpeg" / "test")), {})
    assert files["unit"].tolist() == [number // 4 for number in range(len(files))]
    assert (files["known_target"] == -1).all()
    assert (files["patient_id"] == "").all()


def test_a_context_model_needs_patients_and_all_metadata(record_set):
    config = PredictFilesConfig(workdir="", output="", records=f"{record_set}/train*.tfrec")
    plain = prediction_inputs.list_rows(config, {"metadata": "sex"})
    assert "sex" in plain
    assert "age_approx" not in plain
    rows = prediction_inputs.list_rows(config, {"metadata": "sex"}, with_context_model=True)
    assert {"sex", "age_approx", "anatom_site_general_challenge", "patient_code"} <= set(rows)
    assert set(rows["known_target"]) == {0, 1}
    assert (rows["patient_id"] != "").all()


def test_unknown_metadata_of_the_images_are_counted(tmp_path, capsys):
    write_shard(tmp_path, "test00-3.tfrec", [{"image_name": "a", "sex": 1}, {"image_name": "b"}, {"image_name": "c"}])
    config = PredictFilesConfig(workdir="run", records=f"{tmp_path}/test*.tfrec", output="p.csv")
    prediction_inputs.list_rows(config, {"metadata": "sex"})
    assert "note: unknown metadata of 3 images: sex of 2 (66.7%)" in capsys.readouterr().out
