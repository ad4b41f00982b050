import numpy as np
import pandas as pd
import pytest

from isic_tf.postprocessing import cross_validation, out_of_fold

NAMES = list("abcdefgh")
TARGETS = [0, 1, 0, 1, 0, 1, 0, 1]
PATIENTS = list("ppqqrrss")


def write(path, **columns):
    """Writes a table of eight images of four patients in two folds, but for some columns; None leaves one out."""
    table = {"image_name": NAMES, "prediction": np.linspace(0.1, 0.8, 8), "fold": [0] * 4 + [1] * 4, "target": TARGETS}
    pd.DataFrame({name: values for name, values in {**table, **columns}.items() if values is not None}).to_csv(
        path, index=False
    )
    return str(path)


@pytest.fixture
def labels(tmp_path):
    table = pd.DataFrame({"image_name": NAMES, "patient_id": PATIENTS, "target": TARGETS})
    # In another order, and with more images than were predicted.
    table = pd.concat([table.iloc[::-1], pd.DataFrame({"image_name": ["z"], "patient_id": [""], "target": [1]})])
    table.to_csv(tmp_path / "labels.csv", index=False)
    return str(tmp_path / "labels.csv")


def test_files_are_joined_by_name_in_the_order_of_the_first(tmp_path, labels):
    first = write(tmp_path / "first.csv")
    # What others write: folds as 0.0, no target, another order.
    order = np.array([3, 1, 0, 2, 7, 6, 5, 4])
    folds = np.repeat([0.0, 1.0], 4)[order]
    second = write(
        tmp_path / "second.csv",
        image_name=np.array(NAMES)[order],
        prediction=order / 10,
        fold=folds,
        target=None,
    )
    known = out_of_fold.read([first, second], labels)
    assert known.names == NAMES
    assert known.scores[:, 0] == pytest.approx(np.linspace(0.1, 0.8, 8))
    assert known.scores[:, 1].tolist() == [number / 10 for number in range(8)]
    assert known.targets.tolist() == TARGETS
    assert known.patients.tolist() == PATIENTS
    assert known.folds.tolist() == [0] * 4 + [1] * 4
    assert known.notes == []
    without = out_of_fold.read([second, first])
    assert without.names == [NAMES[number] for number in order]
    assert without.targets.tolist() == [TARGETS[number] for number in order]
    assert without.patients is None


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"fold": None}, r"second.csv has no column fold, so is not out of fold; give the oof.csv of a run"),
        ({"fold": [0, 0, 0, 0, 1, 1, 1, "x"]}, "1 folds are no whole number from 0 on, that of h first"),
        ({"fold": [""] * 8}, r"second.csv: the column fold is blank, so nothing is out of fold; give the oof.csv"),
        ({"fold": [0, 0, 0, 0, 1, 1, -1, 0.5]}, "2 folds are no whole number from 0 on, that of g first"),
        ({"prediction": [0.1] * 7 + [np.nan]}, "1 predictions are no number from 0 to 1, that of h first"),
        ({"image_name": list("abcdefga")}, "must hold every image once, 1 come again, a first"),
        ({"target": [1, *TARGETS[1:]]}, r"second.csv and .*first.csv differ in 1 targets, a first"),
        ({"target": ["x", *TARGETS[1:]]}, r"second.csv: target must be 0 or 1, got 'x'"),
        ({"fold": [0, 1] * 4}, "second.csv have different folds: give --labels, whose patients are put into folds"),
        (
            {"image_name": list("abcdefxy")},
            r"the images of the files differ: 2 only in .*first.csv \(g, h\); 2 only in .*second.csv \(x, y\); --join",
        ),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path, columns, message):
    first, second = write(tmp_path / "first.csv"), write(tmp_path / "second.csv", **columns)
    with pytest.raises(ValueError, match=message):
        out_of_fold.read([first, second])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"target": None}, r"first.csv: no column target to fit to; give --labels"),
        ({"target": ["", *TARGETS[1:]]}, r"first.csv: 1 targets are blank; give --labels"),
        ({"target": [1] * 8}, "fitting needs benign and malignant images, all 8 have target 1"),
        ({"fold": [0] * 8}, r"first.csv have one fold only: give --labels"),
        ({"target": [1] * 4 + [0] * 4}, "outside of fold 0 there is one class only"),
    ],
)
def test_a_file_that_cannot_judge_a_fit_is_refused(tmp_path, columns, message):
    path = write(tmp_path / "first.csv", **columns)
    with pytest.raises(ValueError, match=message):
        out_of_fold.read([path])


def test_labels_that_do_not_fit_are_refused(tmp_path, labels):
    path = write(tmp_path / "first.csv", image_name=list("abcdefgx"))
    with pytest.raises(ValueError, match=r"1 out-of-fold images have no label in .*labels.csv, x first"):
        out_of_fold.read([path], labels)
    path = write(tmp_path / "first.csv", target=[1, *TARGETS[1:]])
    with pytest.raises(ValueError, match=r"first.csv and .*labels.csv differ in 1 targets, a first"):
        out_of_fold.read([path], labels)


def test_a_blank_target_is_taken_from_the_labels(tmp_path, labels):
    path = write(tmp_path / "first.csv", target=["", *TARGETS[1:]])
    assert out_of_fold.read([path], labels).targets.tolist() == TARGETS


def test_images_in_no_fold_are_left_out_and_said(tmp_path):
    path = write(tmp_path / "first.csv", fold=["", 0, 0, 0, 1, 1, 1, ""], target=["", *TARGETS[1:]])
    known = out_of_fold.read([path])
    assert known.names == NAMES[1:7]
    assert known.folds.tolist() == [0, 0, 0, 1, 1, 1]
    assert known.notes == [f"{path}: 2 images are in no fold, a first; left out"]


def test_an_inner_join_says_how_many_it_left_out(tmp_path):
    first = write(tmp_path / "first.csv")
    second = write(tmp_path / "second.csv", image_name=list("hgfexyab"), fold=[1, 1, 1, 1, 0, 0, 0, 0], target=None)
    known = out_of_fold.read([first, second], join="inner")
    assert known.names == list("abefgh")
    (note,) = known.notes
    assert "6 images are in all files; left out: 2 only in" in note
    assert "first.csv (c, d); 2 only in" in note
    assert "second.csv (x, y)" in note
    third = write(tmp_path / "third.csv", image_name=list("ijklmnop"))
    with pytest.raises(ValueError, match=r"no image is in all of .*first.csv, .*third.csv; check the files"):
        out_of_fold.read([first, third], join="inner")


@pytest.mark.parametrize(
    ("folds", "notes"),
    [
        # A patient on both sides: the files' folds cannot judge.
        ([0, 0, 0, 1, 1, 1, 1, 1], 1),
        ([0] * 8, 0),
    ],
)
def test_folds_that_cannot_judge_are_drawn_anew_with_whole_patients(tmp_path, labels, folds, notes):
    known = out_of_fold.read([write(tmp_path / "first.csv", fold=folds)], labels)
    assert len(known.notes) == notes
    assert not notes or "first.csv: 1 patients are in several folds, so it is not quite out of fold" in known.notes[0]
    by_patient = pd.Series(known.folds).groupby(PATIENTS).nunique()
    assert (by_patient == 1).all()
    assert len(set(known.folds)) == 4
    again = out_of_fold.read([write(tmp_path / "first.csv", fold=folds)], labels)
    assert again.folds.tolist() == known.folds.tolist()


def test_images_of_unknown_patients_stand_alone(tmp_path):
    table = pd.DataFrame({"image_name": NAMES, "patient_id": ["p", "p", "q", "q", "", "", "", ""], "target": TARGETS})
    table.to_csv(tmp_path / "labels.csv", index=False)
    known = out_of_fold.read([write(tmp_path / "first.csv")], str(tmp_path / "labels.csv"))
    assert known.patients.tolist() == ["p", "p", "q", "q", "image e", "image f", "image g", "image h"]


def test_too_few_patients_of_a_class_are_refused(tmp_path):
    targets = [1, 1, 0, 0, 0, 0, 0, 0]
    table = pd.DataFrame({"image_name": NAMES, "patient_id": PATIENTS, "target": targets})
    table.to_csv(tmp_path / "labels.csv", index=False)
    path = write(tmp_path / "first.csv", target=targets, fold=[0] * 8)
    with pytest.raises(ValueError, match="at least two patients with malignant and two with benign images"):
        out_of_fold.read([path], str(tmp_path / "labels.csv"))


def test_each_fold_is_predicted_by_what_was_fitted_on_the_others():
    targets, folds = np.array([1, 0, 1, 0, 0, 0]), np.array([2, 2, 0, 0, 1, 1])
    fit = lambda scores, targets: (scores.sum(), targets.mean())  # noqa: E731
    apply = lambda fitted, scores: fitted[0] + 1000 * fitted[1] + scores * 0  # noqa: E731
    predicted = cross_validation.cross_predict(fit, apply, np.array([1.0, 2, 4, 8, 16, 32]), targets, folds)
    # Sums of the other folds' scores 60, 51, 15, and their malignant shares 1/4, 1/4, 2/4.
    assert predicted.tolist() == [310.0, 310.0, 301.0, 301.0, 515.0, 515.0]
