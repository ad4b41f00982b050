"""Every command says at once that its output is taken, or cannot be written: before it reads or computes anything."""

import pytest

from isic_tf.evaluation import evaluate_files
from isic_tf.models.conversion import weights_command
from isic_tf.models.conversion.config import WeightsConfig
from isic_tf.patient_context import fit_context
from isic_tf.patient_context.config import ContextFilesConfig
from isic_tf.postprocessing import ensemble_predictions
from isic_tf.serving import export_run
from isic_tf.visualization import contact_sheet, grad_cam_sheet
from tfrecord_tools import errors
from tfrecord_tools.building import build_config, record_set_builder, record_set_indexer
from tfrecord_tools.deduplication import near_duplicates
from tfrecord_tools.io import output_lock
from tfrecord_tools.splits import fold_table
from tfrecord_tools.synthetic import dataset
from tfrecord_tools.table_formats import table_files
from tfrecord_tools.table_formats.config import TablesConfig
from tfrecord_tools.verification import record_set_verifier

# Function, configuration, the option that names the output, and what is locked below it. No input exists.
BUILD = {"csv": "none.csv", "images": "none"}
COMMANDS = {
    "build": (record_set_builder.build_record_set, build_config.BuildConfig, BUILD, "output", "train"),
    "tags": (record_set_builder.write_dicom_tags, build_config.BuildConfig, {"images": "none"}, "csv_from_dicom", ""),
    "verify": (
        record_set_verifier.verify_record_set,
        record_set_verifier.VerifyConfig,
        {"records": "none*"},
        "quarantine",
        "",
    ),
    "folds": (fold_table.make_folds, fold_table.FoldsConfig, {"csv": "none.csv"}, "output", ""),
    "duplicates": (near_duplicates.find_duplicates, near_duplicates.DuplicatesConfig, {"images": "none"}, "output", ""),
    "tables": (table_files.normalize_tables, TablesConfig, {"tables": ("none.csv",)}, "output", ""),
    "synth": (dataset.make_dataset, dataset.SynthConfig, {}, "output", "train.csv"),
    "evaluate": (
        evaluate_files.evaluate_files,
        evaluate_files.EvaluateConfig,
        {"predictions": ("none.csv",), "labels": "none.csv"},
        "output",
        "",
    ),
    "report": (
        evaluate_files.evaluate_files,
        evaluate_files.EvaluateConfig,
        {"predictions": ("none.csv",), "labels": "none.csv"},
        "report",
        "",
    ),
    "ensemble": (
        ensemble_predictions.ensemble,
        ensemble_predictions.EnsembleConfig,
        {"predictions": ("none.csv", "nil.csv")},
        "output",
        "",
    ),
    "context": (
        fit_context.run_context,
        ContextFilesConfig,
        {"oof": ("none.csv",), "metadata": "none.csv"},
        "output",
        "",
    ),
    "model": (
        fit_context.run_context,
        ContextFilesConfig,
        {"oof": ("none.csv",), "metadata": "none.csv", "output": "context.csv"},
        "model_dir",
        "",
    ),
    "explain": (
        grad_cam_sheet.explain,
        grad_cam_sheet.ExplainConfig,
        {"workdir": "none", "records": "none*"},
        "output",
        "",
    ),
    "show": (contact_sheet.show, contact_sheet.ShowConfig, {"records": "none*"}, "output", ""),
    "weights": (
        weights_command.run_weights,
        WeightsConfig,
        {"convert": "none.npz"},
        "output",
        "",
    ),
    "export": (export_run.export, export_run.ExportConfig, {"workdir": "none"}, "output", ""),
}


@pytest.fixture(params=COMMANDS)
def command(request, tmp_path, monkeypatch):
    """A function that runs a command with an output, and the path that it locks below that."""
    monkeypatch.chdir(tmp_path)
    function, config_class, options, option, below = COMMANDS[request.param]
    return lambda output: function(config_class(**options, **{option: output})), below


def test_an_output_that_another_process_writes_is_refused(command, tmp_path):
    run, below = command
    message = r"to be free, but process \d+ on .* is writing it; wait until"
    with output_lock.locked(str(tmp_path / "out" / below)), pytest.raises(errors.ConfigError, match=message):
        run("out")


def test_an_output_that_cannot_be_written_is_refused_and_nothing_is_left(command, tmp_path):
    run, _ = command
    (tmp_path / "file").touch()
    with pytest.raises(errors.IsicError, match="expected to be able to write file/out.*, got: .*; choose another path"):
        run("file/out")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_an_index_is_refused_while_another_process_writes_its_split(record_set, tmp_path):
    options = {"records": f"{record_set}/t*.tfrec", "output": str(tmp_path / "out")}
    config = record_set_indexer.IndexConfig(**options)
    taken = output_lock.locked(str(tmp_path / "out" / "train"))
    with taken, pytest.raises(errors.ConfigError, match="out/train to be free"):
        record_set_indexer.index_record_set(config)
    assert len(record_set_indexer.index_record_set(config)) == 2
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.startswith(".")]


def test_the_splits_of_a_set_are_built_at_the_same_time(made_up, tmp_path):
    config = build_config.BuildConfig(
        csv=str(made_up / "test.csv"), images=str(made_up / "jpeg"), split="test", output=str(tmp_path), image_size=32
    )
    with output_lock.locked(str(tmp_path / "train")):
        assert record_set_builder.build_record_set(config).records > 0
