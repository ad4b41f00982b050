import numpy as np
import pandas as pd
import pytest
from dicom_files import PICTURE
from harness import make_config
from shard_files import write_shard

from isic_tf.artifacts import run_directory
from isic_tf.data import mixture
from isic_tf.training import fold_setup
from tfrecord_tools import errors, schema
from tfrecord_tools.building import record_set_indexer
from tfrecord_tools.imaging import codec

ROWS = pd.DataFrame({"fold": [0, 1, 1, 4, -1, 7], "extra": [False, False, False, False, False, True]})


@pytest.mark.parametrize(
    ("text", "folds"),
    # A record in no fold and the folds of an extra set count for nothing.
    [("all", [0, 1, 4]), ("full", [None]), ("3", [3])],
)
def test_the_option_fold_names_the_folds_to_hold_out(text, folds):
    assert fold_setup.parse_fold(text, ROWS) == folds


@pytest.mark.parametrize("text", ["first", "-1", "1.5", ""])
def test_another_fold_is_refused(text):
    with pytest.raises(errors.ConfigError, match=f"expected a fold's number, 'all' or 'full' for --fold, got '{text}'"):
        fold_setup.parse_fold(text, ROWS)


def test_all_folds_of_records_without_folds_are_refused():
    with pytest.raises(errors.ConfigError, match=r"expected records in folds for --fold=all, .*tfrecord_tools\.folds"):
        fold_setup.parse_fold("all", ROWS.assign(fold=-1))


@pytest.mark.parametrize(("samples", "steps"), [([7], 1), ([8], 1), ([20, 11], 3), ([20, 12], 4)])
def test_steps_per_epoch_are_complete_batches_and_at_least_one(samples, steps):
    plan = mixture.Plan(ROWS, np.array(samples), ROWS, "")
    assert fold_setup.count_steps(plan, make_config(global_batch_size=8)) == steps


def test_files_that_options_name_are_read_as_bytes(tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text('{"flip_x": {"p": 0.5}}')
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image_name_1,image_name_2\na,b\n")
    (tmp_path / "found.csv").write_text("image_name_1,image_name_2\n")
    both = make_config(augment_policy=str(policy), duplicates=f"{pairs},{tmp_path}/found.csv")
    assert fold_setup.read_named_files(both)[:2] == [pairs.read_bytes(), b"image_name_1,image_name_2\n"]
    config = make_config(augment_policy=str(policy), duplicates=str(pairs))
    assert fold_setup.policy_file(config) == str(policy)
    assert fold_setup.policy_file(make_config(augment_policy="strong")) is None
    assert fold_setup.read_named_files(config) == [pairs.read_bytes(), policy.read_bytes()]
    assert fold_setup.read_named_files(make_config()) == []


def index_with_table(folder, text):
    """Indexes records with a table, which confirms what their codes mean."""
    (folder / "t.csv").write_text(text)
    config = record_set_indexer.IndexConfig(records=f"{folder}/train*.tfrec", csv=f"{folder}/t.csv")
    record_set_indexer.index_record_set(config)


def test_metadata_whose_codes_no_table_confirmed_are_refused_before_the_training(tmp_path):
    examples = [{"image_name": f"i{place}", "target": place % 2, "sex": 1} for place in range(4)]
    write_shard(tmp_path, "train00-4.tfrec", examples, [codec.encode(PICTURE, 90 + place) for place in range(4)])
    record_set_indexer.index_record_set(record_set_indexer.IndexConfig(records=f"{tmp_path}/train*.tfrec"))
    rows = mixture.read_sets(str(tmp_path)).assign(fold=[0, 0, 1, 1])
    settings = {"global_batch_size": 2, "warmup_epochs": 0, "epochs": 1}
    with pytest.raises(errors.IsicError, match="expected codes of sex that a table confirms"):
        fold_setup.plan_folds(rows, [0], make_config(metadata="sex", **settings))
    fold_setup.plan_folds(rows, [0], make_config(**settings))


def test_metadata_that_no_record_has_are_refused_before_the_training(tmp_path):
    names = [f"i{place}" for place in range(4)]
    examples = [{"image_name": name, "target": place % 2, "sex": 1} for place, name in enumerate(names)]
    write_shard(tmp_path, "train00-4.tfrec", examples, [codec.encode(PICTURE, 90 + place) for place in range(4)])
    index_with_table(tmp_path, "image_name,sex\ni0,female\n")
    rows = mixture.read_sets(str(tmp_path)).assign(fold=[0, 0, 1, 1])
    settings = {"global_batch_size": 2, "warmup_epochs": 0, "epochs": 1}
    with pytest.raises(errors.ConfigError, match="--metadata=site needs anatom_site_general_challenge, unknown in all"):
        fold_setup.plan_folds(rows, [0], make_config(metadata="sex,site", **settings))
    planned, _, _ = fold_setup.plan_folds(rows, [0], make_config(metadata="sex", **settings))
    assert planned["sex"].tolist() == [1] * 4


def test_a_held_out_carcinoma_is_refused_where_the_diagnosis_is_learned(tmp_path):
    names = [f"i{place}" for place in range(4)]
    diagnoses = ("nevus", "basal cell carcinoma", "nevus", "melanoma")
    codes = [schema.encode("diagnosis", name) for name in diagnoses]
    examples = [
        {"image_name": name, "target": place % 2, "diagnosis": codes[place]} for place, name in enumerate(names)
    ]
    write_shard(tmp_path, "train00-4.tfrec", examples, [codec.encode(PICTURE, 90 + place) for place in range(4)])
    lines = [f"{name},{diagnosis}" for name, diagnosis in zip(names, diagnoses, strict=True)]
    index_with_table(tmp_path, "\n".join(["image_name,diagnosis", *lines]) + "\n")
    rows = mixture.read_sets(str(tmp_path)).assign(fold=[0, 0, 1, 1])
    config = make_config(target="diagnosis", global_batch_size=2, warmup_epochs=0, epochs=1)
    with pytest.raises(errors.IsicError, match="1 images are labeled malignant but not diagnosed as melanoma"):
        fold_setup.plan_folds(rows, [0], config)


def begin_run(workdir, **flags):
    """A run with one epoch."""
    run_directory.claim(str(workdir), make_config(**flags).settings(), (), ROWS_OF_INDEX)
    run_directory.write_history(str(workdir / "fold0"), [{"epoch": 1, "loss": 0.5, "auc": 0.5}])


ROWS_OF_INDEX = pd.DataFrame(
    {"shard": "s", "position": [0], "image_name": "a", "patient_id": "p", "target": [0], "fold": [0]}
)


def test_a_run_keeps_the_default_warm_up_that_it_began_with(tmp_path, capsys):
    # As release 0.1 began it, or as a run of ten epochs did.
    begin_run(tmp_path, epochs=4, warmup_epochs=1.0)
    assert fold_setup.keep_warmup(make_config(epochs=4, workdir=str(tmp_path))).warmup_epochs == 1.0
    assert "warming up for 1.0 epochs, as the run in" in capsys.readouterr().out
    assert fold_setup.keep_warmup(make_config(epochs=4, workdir=str(tmp_path), warmup_epochs=2.0)).warmup_epochs == 2.0
    assert fold_setup.keep_warmup(make_config(epochs=4, workdir=str(tmp_path / "new"))).warmup_epochs == 0.4
    assert capsys.readouterr().out == ""


def test_a_fold_is_trained_until_its_metrics_are_written_and_when_its_run_grows(tmp_path, capsys):
    directory = str(tmp_path / "full")
    history = [{"epoch": 1, "loss": 0.5}, {"epoch": 2, "loss": 0.25}]
    run_directory.write_history(directory, history)
    two, three = make_config(epochs=2), make_config(epochs=3)
    assert fold_setup.needs_training(directory, two)
    (tmp_path / "full" / "best.weights.h5").write_text("weights")
    (tmp_path / "full" / "metrics.json").write_text('{"epochs": 2, "loss": 0.25}')
    assert not fold_setup.needs_training(directory, two)
    assert fold_setup.needs_training(directory, three)
    assert capsys.readouterr().out == ""
    (tmp_path / "full" / "best.weights.h5").unlink()
    assert fold_setup.needs_training(directory, two)
    assert "best.weights.h5, found no such file; the fold is finished once more" in capsys.readouterr().out


def test_a_fold_that_stopped_early_does_not_grow(tmp_path):
    directory = str(tmp_path / "fold0")
    history = [{"epoch": epoch, "loss": 0.5, "auc": 1 / epoch} for epoch in (1, 2, 3)]
    run_directory.write_history(directory, history)
    (tmp_path / "fold0" / "metrics.json").write_text('{"epochs": 3}')
    assert not fold_setup.has_grown(directory, make_config(epochs=9, early_stop_patience=2))
    assert fold_setup.has_grown(directory, make_config(epochs=9, early_stop_patience=3))
