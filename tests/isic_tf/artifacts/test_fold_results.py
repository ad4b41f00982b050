import json

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.artifacts import fold_results
from tfrecord_tools.io import atomic_write


def test_folds_are_joined_and_several_are_evaluated_together(tmp_path, capsys):
    index = pd.DataFrame({"image_name": ["i0", "i1", "i2"], "patient_id": ["p", "q", "q"]})
    tables = {0: [("i0", 0.25, 0, 0)], 1: [("i1", 0.75, 1, 1), ("i2", 0.25, 1, 0)]}
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--context=none\n")
    for fold, rows in tables.items():
        table = pd.DataFrame(rows, columns=["image_name", "prediction", "fold", "target"])
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "oof.csv"), table.to_csv(index=False))
        metrics = fold_results.merge_folds(str(tmp_path), index, positive="positive")
        merged = pd.read_csv(tmp_path / "oof.csv")
        # The metrics of a single fold are its own, logged when it ends.
        assert ("3 images, 1 positive, 2 patients" in capsys.readouterr().out) == (fold == 1)
        assert (tmp_path / "metrics.json").exists() == (fold == 1)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["folds"] == 2
    assert metrics == figures
    assert (figures["auc"], figures["partial_auc"]) == (1.0, pytest.approx(0.2))
    assert merged.to_numpy().tolist() == [list(row) for row in tables[0] + tables[1]]


def test_probabilities_of_classes_are_joined_where_all_folds_have_them(tmp_path, capsys):
    index = pd.DataFrame({"image_name": ["a", "b"], "patient_id": ["p", "q"]})
    facts = {"classes": ("MEL", "NV"), "positive_classes": ("MEL",), "multi_label": False}
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--context=none\n")
    rows = {0: "a,0.25,0.25,0.75,0,0\n", 1: "b,0.5,0.5,0.5,1,1\n"}
    header = "image_name,prediction,probability_MEL,probability_NV,fold,target\n"
    for fold, row in rows.items():
        atomic_write.write_text(str(tmp_path / f"fold{fold}" / "oof.csv"), header + row)
    fold_results.merge_folds(str(tmp_path), index, facts)
    assert (tmp_path / "oof.csv").read_text() == header + rows[0] + rows[1]
    assert json.loads((tmp_path / "oof.csv.json").read_text())["classes"] == ["MEL", "NV"]
    # As release 0.1 left a fold of diagnoses.
    atomic_write.write_text(str(tmp_path / "fold0" / "oof.csv"), "image_name,prediction,fold,target\na,0.25,0,0\n")
    fold_results.merge_folds(str(tmp_path), index, facts)
    assert list(pd.read_csv(tmp_path / "oof.csv")) == ["image_name", "prediction", "fold", "target"]
    assert "have no probability_MEL; the probabilities of classes are left out" in capsys.readouterr().out
    for path, has_classes in (("oof.csv", False), ("fold0/oof.csv", False), ("fold1/oof.csv", True)):
        assert ("classes" in json.loads((tmp_path / f"{path}.json").read_text())) == has_classes


def test_nothing_is_joined_where_no_fold_is_trained(tmp_path):
    assert fold_results.merge_folds(str(tmp_path), pd.DataFrame({"image_name": [], "patient_id": []})) is None
    assert list(tmp_path.iterdir()) == []


HISTORY = [{"epoch": 1, "loss": 0.5, "auc": 0.9}, {"epoch": 2, "loss": 0.25, "auc": 0.8}]
# Of the four pairs of a malignant and a benign image, three are in the right order.
HELD_OUT = pd.DataFrame(
    {
        "image_name": ["a", "b", "c", "d"],
        "patient_id": ["p", "q", "r", "s"],
        "prediction": [0.1, 0.3, 0.2, 0.4],
        "fold": 0,
        "target": [0, 0, 1, 1],
        "shard": "x",
    }
)


@pytest.mark.parametrize(("keep", "epoch"), [("best", 1), ("last", 2)])
def test_a_finished_fold_has_predictions_and_metrics(tmp_path, capsys, keep, epoch):
    directory = str(tmp_path / "fold0")
    metrics = fold_results.finish_fold(directory, HELD_OUT, HISTORY, keep)
    assert json.loads((tmp_path / "fold0" / "metrics.json").read_text()) == metrics
    assert (metrics["auc"], metrics["images"], metrics["malignant"], metrics["patients"]) == (0.75, 4, 2, 4)
    assert (metrics["kept_epoch"], metrics["epochs"]) == (epoch, 2)
    assert (tmp_path / "fold0" / "oof.csv").read_text().splitlines()[:2] == [
        "image_name,prediction,fold,target",
        "a,0.1,0,0",
    ]
    out = capsys.readouterr().out
    assert out.startswith("fold0: ROC AUC 0.7500 ")
    assert out.endswith(f", epoch {epoch} of 2\n")


def test_the_folds_that_have_a_detector_say_how_unlike_their_held_out_images_are(tmp_path):
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--context=none\n")
    other = HELD_OUT.assign(image_name=["e", "f", "g", "h"], fold=1)
    for fold, table in enumerate((HELD_OUT.assign(unlike=[0.5, 1.25, 0.75, 0.25]), other)):
        fold_results.finish_fold(str(tmp_path / f"fold{fold}"), table, HISTORY)
    fold_results.merge_folds(str(tmp_path), pd.concat([HELD_OUT, other]))
    lines = (tmp_path / "oof.csv").read_text().splitlines()
    assert [lines[0], lines[2], lines[5]] == [
        "image_name,prediction,unlike,fold,target",
        "b,0.3,1.25,0,0",
        "e,0.1,,1,0",
    ]


def test_a_fold_without_held_out_images_has_its_loss_only(tmp_path, capsys):
    metrics = fold_results.finish_fold(str(tmp_path / "full"), None, HISTORY)
    assert metrics == {"epochs": 2, "loss": 0.25}
    assert json.loads((tmp_path / "full" / "metrics.json").read_text()) == metrics
    assert not (tmp_path / "full" / "oof.csv").exists()
    assert "full: trained for 2 epochs; not evaluated, because nothing was held out" in capsys.readouterr().out


def test_weights_are_kept_only_where_they_are_wanted(tmp_path):
    inputs = tf.keras.Input((1,))
    network = tf.keras.Model(inputs, tf.keras.layers.Dense(1)(inputs))
    network.layers[1].set_weights([np.array([[2.0]]), np.array([1.0])])
    fold_results.keep_weights(str(tmp_path), network, wanted=False, epoch=1)
    assert list(tmp_path.iterdir()) == []
    fold_results.keep_weights(str(tmp_path), network, wanted=True, epoch=1)
    network.layers[1].set_weights([np.zeros((1, 1)), np.zeros(1)])
    network.load_weights(str(tmp_path / "best.weights.h5"))
    assert network(tf.constant([[3.0]])).numpy().tolist() == [[7.0]]


def test_a_fold_whose_predictions_are_lost_is_noted_and_stale_metrics_are_removed(tmp_path, capsys):
    index = HELD_OUT[["image_name", "patient_id"]]
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--context=none\n")
    for fold in (0, 1):
        fold_results.finish_fold(str(tmp_path / f"fold{fold}"), HELD_OUT, HISTORY)
    assert fold_results.merge_folds(str(tmp_path), index.drop_duplicates())["folds"] == 2
    (tmp_path / "fold0" / "oof.csv").unlink()
    capsys.readouterr()
    assert fold_results.merge_folds(str(tmp_path), index) is None
    out = capsys.readouterr().out
    assert f"{tmp_path}/fold0/oof.csv is missing, so that this fold is not among the predictions" in out
    assert "isic_tf.train --fold=0 to write it again" in out
    assert "metrics.json was of several folds, of which one is left; removed" in out
    assert not (tmp_path / "metrics.json").exists()


def test_a_fold_that_is_trained_on_has_no_results(tmp_path):
    fold_results.finish_fold(str(tmp_path), HELD_OUT, HISTORY)
    fold_results.reopen_fold(str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    fold_results.reopen_fold(str(tmp_path))
