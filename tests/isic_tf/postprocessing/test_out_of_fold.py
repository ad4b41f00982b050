import numpy as np
import pandas as pd
import pytest

from isic_tf.postprocessing import out_of_fold

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
    # As other tools write it: folds as 0.0, no target, another order.
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
        ({"fold": None}, r"second.csv has no column fold, so it is not out of fold; give the oof.csv of a run"),
        ({"fold": [0, 0, 0, 0, 1, 1, 1, "x"]}, r"expected integers from 0 in the column fold, 1 are not \(first: h\)"),
        ({"fold": [""] * 8}, r"second.csv: the column fold is blank, so nothing is out of fold; give the oof.csv"),
        ({"fold": [0, 0, 0, 0, 1, 1, -1, 0.5]}, r"expected integers from 0 in the column fold, 2 are not \(first: g\)"),
        ({"prediction": [0.1] * 7 + [np.nan]}, r"expected predictions from 0 to 1, 1 of 8 are not \(h\)"),
        ({"image_name": list("abcdefga")}, "must hold every image once, but repeats 1, for example a"),
        ({"target": [1, *TARGETS[1:]]}, r"second.csv and .*first.csv have different targets for 1 images \(first: a"),
        ({"target": ["x", *TARGETS[1:]]}, r"second.csv: target must be 0 or 1, got 'x'"),
        ({"fold": [0, 1] * 4}, "second.csv have different folds; give --labels with patients, to make new folds"),
        (
            {"image_name": list("abcdefxy")},
            r"the same images, but 2 only in .*first.csv \(g, h\); 2 only in .*second.csv \(x, y\); use --join",
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
        ({"fold": [0] * 8}, r"first.csv have one fold only; give --labels"),
        ({"target": [1] * 4 + [0] * 4}, "outside of fold 0 there is one class only"),
    ],
)
def test_a_file_that_a_fit_cannot_be_evaluated_on_is_refused(tmp_path, columns, message):
    path = write(tmp_path / "first.csv", **columns)
    with pytest.raises(ValueError, match=message):
        out_of_fold.read([path])


def test_labels_that_do_not_fit_are_refused(tmp_path, labels):
    path = write(tmp_path / "first.csv", image_name=list("abcdefgx"))
    with pytest.raises(ValueError, match=r"1 out-of-fold images have no label in .*labels.csv \(first: x\); add"):
        out_of_fold.read([path], labels)
    path = write(tmp_path / "first.csv", target=[1, *TARGETS[1:]])
    with pytest.raises(ValueError, match=r"first.csv and .*labels.csv have different targets for 1 images \(first: a"):
        out_of_fold.read([path], labels)


def test_a_blank_target_is_taken_from_the_labels(tmp_path, labels):
    path = write(tmp_path / "first.csv", target=["", *TARGETS[1:]])
    assert out_of_fold.read([path], labels).targets.tolist() == TARGETS


def test_images_in_no_fold_are_left_out_with_a_note(tmp_path):
    path = write(tmp_path / "first.csv", fold=["", 0, 0, 0, 1, 1, 1, ""], target=["", *TARGETS[1:]])
    known = out_of_fold.read([path])
    assert known.names == NAMES[1:7]
    assert known.folds.tolist() == [0, 0, 0, 1, 1, 1]
    assert known.notes == [f"{path}: left out 2 images that are in no fold (first: a)"]


def test_an_inner_join_notes_how_many_images_it_left_out(tmp_path):
    first = write(tmp_path / "first.csv")
    second = write(tmp_path / "second.csv", image_name=list("hgfexyab"), fold=[1, 1, 1, 1, 0, 0, 0, 0], target=None)
    known = out_of_fold.read([first, second], join="inner")
    assert known.names == list("abefgh")
    (note,) = known.notes
    assert "6 images are in all files; left out: 2 only in" in note
    assert "first.csv (c, d); 2 only in" in note
    assert "second.csv (x, y)" in note
    third = write(tmp_path / "third.csv", image_name=list("ijklmnop"))
    with pytest.raises(ValueError, match=r"no image is in all of .*first.csv, .*third.csv"):
        out_of_fold.read([first, third], join="inner")


@pytest.mark.parametrize(
    ("folds", "notes"),
    [
        # A patient is in two folds: those of the files cannot be used.
        ([0, 0, 0, 1, 1, 1, 1, 1], 1),
        ([0] * 8, 0),
    ],
)
def test_folds_that_share_patients_are_replaced_by_new_ones(tmp_path, labels, folds, notes):
    known = out_of_fold.read([write(tmp_path / "first.csv", fold=folds)], labels)
    assert len(known.notes) == notes
    assert (
        not notes
        or "first.csv: 1 patients are in several folds, so its predictions are slightly optimistic" in known.notes[0]
    )
    by_patient = pd.Series(known.folds).groupby(PATIENTS).nunique()
    assert (by_patient == 1).all()
    assert len(set(known.folds)) == 4
    again = out_of_fold.read([write(tmp_path / "first.csv", fold=folds)], labels)
    assert again.folds.tolist() == known.folds.tolist()


def test_images_of_unknown_patients_are_patients_of_their_own(tmp_path):
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


def test_labels_are_joined_in_any_spelling_and_lesions_are_patients_where_these_are_unknown(tmp_path):
    labels = tmp_path / "labels.csv"
    patients, lesions = ["p", "P ", "q", "-1", "", "", "s", "s"], ["", "", "l", "L", "m", "m", "", ""]
    table = pd.DataFrame({"image_name": [f"{name.upper()}.jpg" for name in NAMES], "patient_id": patients})
    table.assign(lesion_id=lesions, target=TARGETS).to_csv(labels, index=False)
    found = out_of_fold.read([write(tmp_path / "oof.csv")], str(labels))
    assert found.names == NAMES
    assert found.patients.tolist() == ["p", "p", "q", "q", "lesion m", "lesion m", "s", "s"]
