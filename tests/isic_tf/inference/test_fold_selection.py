import logging

import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import person_numbers, seen_images
from isic_tf.data import mixture
from isic_tf.inference import fold_selection
from tfrecord_tools import cli, errors

# Patients p and q, two images each, and one of an unknown patient.
ROWS = pd.DataFrame({"image_name": list("abcde"), "patient_id": ["p", "p", "q", "q", ""]})


@pytest.fixture
def paths(tmp_path):
    """Weights of fold 0, trained on an image of p, and of fold 1, trained on an image of q and on that of nobody."""
    found = []
    for fold, names in enumerate(("a", "ce")):
        directory = tmp_path / f"fold{fold}"
        directory.mkdir()
        seen_images.write_seen_images(str(directory), ROWS[ROWS["image_name"].isin(list(names))])
        found.append(str(directory / "best.weights.h5"))
    return found


def test_images_of_a_training_patient_are_seen_as_well(paths):
    assert fold_selection.find_unseen(paths[0], ROWS).tolist() == [False, False, True, True, True]
    assert fold_selection.find_unseen(paths[1], ROWS).tolist() == [True, True, False, False, False]
    # By name alone where patients are not known; an unknown patient is not one patient.
    assert fold_selection.find_unseen(paths[1], ROWS[["image_name"]]).tolist() == [True, True, False, True, False]
    unknown = ROWS.assign(patient_id="", image_name=list("vwxyz"))
    assert fold_selection.find_unseen(paths[1], unknown).all()


@pytest.mark.parametrize("otherwise", [False, True])
def test_weights_of_unknown_origin_get_the_given_answer(tmp_path, otherwise):
    found = fold_selection.find_unseen(str(tmp_path / "w.h5"), ROWS, otherwise)
    assert found.tolist() == [otherwise] * 5


def test_out_of_fold_each_image_is_predicted_by_folds_that_did_not_train_on_its_patient(paths):
    assert fold_selection.choose_networks(paths, ROWS, out_of_fold=True) == ["01", "01", "10", "10", "10"]


def test_else_all_folds_predict_and_training_images_are_counted(paths, capsys):
    assert fold_selection.choose_networks(paths, ROWS, out_of_fold=False) == "11"
    out = capsys.readouterr().out
    assert "note: 5 of the 5 images, or their patients, were trained on (for example a)" in out
    assert "--out_of_fold predicts each image only with folds that did not train on it" in out
    others = pd.DataFrame({"image_name": ["x"], "patient_id": ["r"]})
    assert fold_selection.choose_networks(paths, others, out_of_fold=False) == "11"
    assert capsys.readouterr().out == ""


def test_optimistic_predictions_are_logged_as_a_warning(paths, capsys):
    cli.show_log(logging.WARNING)
    fold_selection.choose_networks(paths, ROWS, out_of_fold=False)
    assert "so these predictions are optimistic" in capsys.readouterr().out


def test_an_image_that_all_folds_trained_on_is_refused(paths):
    rows = pd.DataFrame({"image_name": ["x", "a"], "patient_id": ["", "q"]})
    with pytest.raises(errors.LeakageError, match="all folds trained on 1 of them, for example a; train the folds"):
        fold_selection.choose_networks(paths, rows, out_of_fold=True)


def test_weights_of_unknown_origin_predict_nothing_out_of_fold(tmp_path):
    with pytest.raises(errors.LeakageError, match="all folds trained on 5 of them"):
        fold_selection.choose_networks([str(tmp_path / "w.h5")], ROWS, out_of_fold=True)


def test_the_fold_is_that_of_the_only_network_and_targets_follow_the_names(capsys):
    rows = pd.DataFrame({"image_name": list("abc"), "networks": ["01", "10", "11"], "known_target": [1, 0, -1]})
    table = pd.DataFrame({"image_name": list("cab"), "prediction": [0.1, 0.2, 0.3]})
    paths = ["run/fold3/w.h5", "run/fold12/w.h5"]
    found = fold_selection.add_folds(table, rows, paths)
    assert found["fold"].tolist() == [pd.NA, 12, 3]
    assert found["target"].tolist() == [pd.NA, 1, 0]
    assert found.dtypes[["fold", "target"]].astype(str).tolist() == ["Int64", "Int64"]
    out = capsys.readouterr().out
    assert "note: 1 of 3 images have no fold (for example c); left blank" in out
    assert "note: 1 of 3 images have no target (for example c); left blank" in out


def test_targets_of_own_classes_are_those_of_the_runs_held_out_images(tmp_path):
    for fold, row in ((0, "a,0.5,0,1"), (1, "b,0.5,1,0")):
        (tmp_path / f"fold{fold}").mkdir()
        (tmp_path / f"fold{fold}" / "oof.csv").write_text(f"image_name,prediction,fold,target\n{row}\n")
    assert fold_selection.find_targets(pd.Series(["c", "b", "a"]), str(tmp_path)).tolist() == [-1, 0, 1]
    assert fold_selection.find_targets(pd.Series(["c"]), str(tmp_path / "none")).tolist() == [-1]


def test_a_network_of_no_fold_names_none(capsys):
    rows = pd.DataFrame({"image_name": ["a"], "networks": ["1"], "known_target": [-1]})
    table = pd.DataFrame({"image_name": ["a"], "prediction": [0.1]})
    assert list(fold_selection.add_folds(table, rows, ["run/full/w.h5"])) == ["image_name", "prediction"]
    assert "note: no image has a fold; the column fold is left out" in capsys.readouterr().out


@pytest.fixture
def numbered(tmp_path):
    """Weights of one fold, trained on images a and b of patients 7 and 8 of a set; and the rows of the set."""
    rows = person_numbers.add_keys(pd.DataFrame({"image_name": list("abcd"), "patient_id": ["7", "8", "7", "9"]}))
    plan = mixture.Plan(rows[:2], np.array([2]), rows[2:], "")
    seen_images.write_seen_images(str(tmp_path), seen_images.list_seen_images(plan))
    return [str(tmp_path / "best.weights.h5")], rows


def test_patients_of_a_set_are_recognized_by_their_numbers(numbered):
    paths, rows = numbered
    # c is another image of patient 7.
    assert fold_selection.find_unseen(paths[0], rows).tolist() == [False, False, False, True]
    assert fold_selection.choose_networks(paths, rows[3:], out_of_fold=True) == ["1"]
    with pytest.raises(errors.LeakageError, match="all folds trained on 1 of them, for example c"):
        fold_selection.choose_networks(paths, rows[2:], out_of_fold=True)


def test_numbers_of_another_set_need_an_answer_out_of_fold(numbered, capsys):
    paths, _ = numbered
    rows = pd.DataFrame({"image_name": ["x", "y"], "patient_id": ["7", "10"]})
    with pytest.raises(
        errors.ConfigError, match="the images and the training images of .* share 1 numbers .*such as 7"
    ):
        fold_selection.choose_networks(paths, rows, out_of_fold=True)
    assert fold_selection.choose_networks(paths, rows, True, "different") == ["1", "1"]
    with pytest.raises(errors.LeakageError, match="all folds trained on 1 of them, for example x"):
        fold_selection.choose_networks(paths, rows, True, "same")
    # Else it is only said.
    assert capsys.readouterr().out == ""
    assert fold_selection.choose_networks(paths, rows, out_of_fold=False) == "1"
    assert "share 1 numbers of patients or lesions (such as 7); if these are the same" in capsys.readouterr().out
    assert fold_selection.choose_networks(paths, rows, False, "same") == "1"
    assert "note: 1 of the 2 images, or their patients, were trained on" in capsys.readouterr().out


def test_names_of_patients_that_were_trained_on_under_numbers_are_noted(numbered, capsys):
    paths, _ = numbered
    note = "are names on one side and numbers on the other, so the same people are not recognized"
    for patient, is_noted in (("p", True), ("", False), ("10", False)):
        fold_selection.choose_networks(paths, pd.DataFrame({"image_name": ["x"], "patient_id": [patient]}), True)
        assert (note in capsys.readouterr().out) is is_noted


def test_images_are_recognized_in_any_spelling_and_by_their_bytes(tmp_path):
    seen = pd.DataFrame({"image_name": ["ISIC_1", "b"], "patient_id": "", "image_digest": ["", "e3b0c44298fc1c14"]})
    seen_images.write_seen_images(str(tmp_path), seen)
    weights = str(tmp_path / "w.h5")
    for name in ("empty.PNG", "empty.dcm"):
        (tmp_path / name).touch()
    rows = pd.DataFrame({"image_name": ["isic_0000001_downsampled", "x", "y"], "image_digest": ["", "", "00"]})
    assert fold_selection.find_unseen(weights, rows).tolist() == [False, True, True]
    # The bytes of files are read; those of DICOM files are in no record.
    files = [str(tmp_path / name) for name in ("empty.PNG", "empty.dcm")]
    rows = pd.DataFrame({"image_name": ["x", "y"], "path": files})
    with pytest.raises(errors.LeakageError, match="all folds trained on 1 of them, for example x"):
        fold_selection.choose_networks([weights], rows, out_of_fold=True)
    assert fold_selection.choose_networks([weights], rows[1:], out_of_fold=True) == ["1"]
