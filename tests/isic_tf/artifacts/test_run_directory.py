import json

import pandas as pd
import pytest

from isic_tf.artifacts import prediction_files, run_directory
from tfrecord_tools.io import atomic_write

FLAGS = {"image_size": 64, "backbone": "efficientnet-b0", "data_dir": "/a", "deterministic": False}


def with_epoch(workdir):
    run_directory.write_history(run_directory.fold_dir(str(workdir), 0), [{"epoch": 1, "loss": 0.1, "auc": 0.7}])


def test_flags_come_back_and_are_usable_as_a_flagfile(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    found = run_directory.read_flags(str(tmp_path))
    assert {name: found[name] for name in FLAGS} == {name: str(value) for name, value in FLAGS.items()}
    lines = (tmp_path / "flags.txt").read_text().splitlines()
    assert all(line.startswith(("--", "#")) for line in lines)


def test_the_same_configuration_goes_on_and_free_flags_may_differ(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, ("data_dir",), index)
    with_epoch(tmp_path)
    run_directory.claim(str(tmp_path), {**FLAGS, "data_dir": "/b"}, ("data_dir",), index.sample(frac=1, random_state=0))


def test_another_configuration_is_refused_with_what_differs(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    with_epoch(tmp_path)
    with pytest.raises(ValueError, match=r"another configuration \(image_size was 64, is 128\); choose another"):
        run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)
    with pytest.raises(ValueError, match=r"another configuration \(data_sha256 was"):
        run_directory.claim(str(tmp_path), FLAGS, (), index.assign(fold=1 - index["fold"]))


def test_a_configuration_without_a_trained_epoch_binds_nobody(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)
    assert run_directory.read_flags(str(tmp_path))["image_size"] == "128"


def test_a_checkpoint_of_the_first_epoch_binds(tmp_path, index):
    run_directory.claim(str(tmp_path), FLAGS, (), index)
    atomic_write.write_text(str(tmp_path / "full" / "checkpoints" / "ckpt-1.index"), "")
    with pytest.raises(ValueError, match="holds a run of another configuration .image_size was"):
        run_directory.claim(str(tmp_path), {**FLAGS, "image_size": 128}, (), index)


def test_a_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"expected a run in .*, found no flags.txt; check --workdir"):
        run_directory.read_flags(str(tmp_path))


def test_fold_files_are_in_order_of_number(tmp_path):
    for fold in (10, 2, 0, "_old"):
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "oof.csv"), "")
    found = [path.split("/")[-2] for path in run_directory.fold_files(str(tmp_path), "oof.csv")]
    assert found == ["fold0", "fold2", "fold10"]


def test_history_comes_back_to_the_last_digit(tmp_path):
    assert run_directory.read_history(str(tmp_path)) == []
    history = [{"epoch": 1, "loss": 0.1 + 0.2, "auc": 2 / 3}, {"epoch": 2, "loss": 1e-17, "auc": 1.0}]
    run_directory.write_history(str(tmp_path), history)
    assert run_directory.read_history(str(tmp_path)) == history


def test_merge_folds_joins_what_there_is_and_judges_several_together(tmp_path, capsys):
    index = pd.DataFrame({"image_name": ["i0", "i1", "i2"], "patient_id": ["p", "q", "q"]})
    tables = {0: [("i0", 0.25, 0, 0)], 1: [("i1", 0.75, 1, 1), ("i2", 0.25, 1, 0)]}
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--context=none\n")
    for fold, rows in tables.items():
        table = pd.DataFrame(rows, columns=["image_name", "prediction", "fold", "target"])
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "oof.csv"), table.to_csv(index=False))
        run_directory.merge_folds(str(tmp_path), index)
        merged = pd.read_csv(tmp_path / "oof.csv")
        # One fold's figures are its own, printed when it ends.
        assert ("2 folds together: ROC AUC 1.0000" in capsys.readouterr().out) == (fold == 1)
        assert (tmp_path / "metrics.json").exists() == (fold == 1)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["folds"] == 2
    assert (figures["auc"], figures["partial_auc"]) == (1.0, pytest.approx(0.2))
    assert merged.to_numpy().tolist() == [list(row) for row in tables[0] + tables[1]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("a,0.1\na,0.2", "must hold every image once, 1 come again, a first"),
        ("a,0.1\nb,nan", "1 predictions are no number from 0 to 1, that of b first"),
        ("a,1.2\nb,0.3", "1 predictions are no number from 0 to 1, that of a first"),
        ("a,inf\nb,x", "2 predictions are no number from 0 to 1, that of a first"),
    ],
)
def test_damaged_prediction_files_are_refused(tmp_path, rows, message):
    (tmp_path / "p.csv").write_text(f"image_name,prediction\n{rows}\n")
    with pytest.raises(ValueError, match=message):
        prediction_files.read_prediction_file(str(tmp_path / "p.csv"))
