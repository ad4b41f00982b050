import pandas as pd
import pytest

from isic_tf.data import fold_split
from tfrecord_tools import errors, schema


def test_the_split_splits_by_fold_and_drops_rows_without_one(index):
    odd = index.assign(fold=index["fold"].where(index.index != 0, -1))
    kept, held_out = fold_split.split_by_fold(odd, 1)
    assert set(held_out["fold"]) == {1}
    assert set(kept["fold"]) == {0}
    assert len(kept) + len(held_out) == len(index) - 1


def test_the_split_refuses_a_fold_that_is_not_there(index):
    with pytest.raises(ValueError, match=r"expected one of the index's folds \[0, 1\], got fold 7"):
        fold_split.split_by_fold(index, 7)
    with pytest.raises(ValueError, match="expected an index with folds to hold out fold 0, got one without; build"):
        fold_split.split_by_fold(index.assign(fold=-1), 0)


@pytest.mark.parametrize("target", [0, 1, -1])
def test_the_split_refuses_one_class_and_blanks(index, target):
    one_class = index.assign(target=index["target"].where(index["fold"] != 0, target))
    with pytest.raises(ValueError, match="fold 0: the held-out part must have both classes and no blanks"):
        fold_split.split_by_fold(one_class, 0)


def test_the_split_refuses_a_leak_but_not_unknown_patients(index):
    with pytest.raises(ValueError, match="fold 0 leaks: 1 patients are in training too .first: p.; make new folds"):
        fold_split.split_by_fold(index.assign(patient_id="p"), 0)
    fold_split.split_by_fold(index.assign(patient_id=""), 0)


def test_nothing_is_held_out_of_a_full_run_with_folds_or_without(index):
    duplicate = index.copy()
    duplicate.loc[0, "fold"] = -1
    for rows, count in ((index, len(index)), (duplicate, len(index) - 1), (index.assign(fold=-1), len(index))):
        kept, held_out = fold_split.split_by_fold(rows, None)
        assert (len(kept), len(held_out)) == (count, 0)
    with pytest.raises(ValueError, match="full: the training part must have both classes"):
        fold_split.split_by_fold(index.assign(target=0), None)


# Two records of each fold and class, each of a patient of its own.
ROWS = pd.DataFrame(
    {
        "image_name": ["a0", "a1", "b0", "b1"],
        "patient_id": ["p", "q", "r", "s"],
        "target": [0, 1, 0, 1],
        "fold": [0, 0, 1, 1],
        "extra": False,
    }
)
EXTRA = pd.DataFrame(
    {
        "image_name": ["a0", "c", "d", "e", "f"],
        "patient_id": ["x", "p", "", "y", "z"],
        "target": [0, 0, -1, 1, 1],
        "fold": -1,
        "extra": True,
    }
)


def split(fold, pairs=()):
    table = pd.DataFrame(pairs, columns=list(schema.PAIR_COLUMNS)) if pairs else None
    kept, held_out, left_out = fold_split.split_rows(pd.concat([ROWS, EXTRA], ignore_index=True), fold, table)
    return kept["image_name"].tolist(), held_out["image_name"].tolist(), left_out


def test_extra_records_that_would_leak_are_left_out_and_each_is_counted_once():
    kept, held_out, left_out = split(0, [("e", "a1"), ("a0", "c")])
    assert held_out == ["a0", "a1"]
    assert kept == ["b0", "b1", "f"]
    # c is of a held-out patient too, but it was counted as a duplicate.
    assert left_out == {
        "without a label": 1,
        "with the name of a held-out image": 1,
        "listed as a duplicate of a held-out image": 2,
    }


def test_without_pairs_extra_records_of_held_out_patients_are_left_out():
    kept, _, left_out = split(0)
    assert kept == ["b0", "b1", "e", "f"]
    assert left_out == {"without a label": 1, "with the name of a held-out image": 1, "of a held-out patient": 1}


def test_nothing_but_unlabeled_records_is_left_out_where_nothing_is_held_out():
    kept, held_out, left_out = split(None, [("e", "a1")])
    assert (kept, held_out) == (["a0", "a1", "b0", "b1", "a0", "c", "e", "f"], [])
    assert left_out == {"without a label": 1}


def test_errors_have_the_class_of_their_cause():
    with pytest.raises(errors.ConfigError, match=r"expected one of the index's folds \[0, 1\], got fold 2"):
        fold_split.split_by_fold(ROWS, 2)
    with pytest.raises(errors.LeakageError, match=r"fold 0 leaks: 1 patients are in training too \(first: p\)"):
        fold_split.split_by_fold(ROWS.assign(patient_id=["p", "q", "p", "s"]), 0)
    with pytest.raises(errors.IsicError, match="fold 0: the training part must have both classes and no blanks, has"):
        fold_split.split_by_fold(ROWS.assign(target=[0, 1, 0, 0]), 0)


def test_a_lesion_in_training_and_held_out_is_refused():
    rows = ROWS.assign(patient_id="", lesion_id=["l", "m", "n", " L"])
    with pytest.raises(errors.LeakageError, match=r"fold 0 leaks: 1 lesions are in training too \(first: l\)"):
        fold_split.split_by_fold(rows, 0)
    fold_split.split_by_fold(rows.assign(lesion_id=["l", "m", "n", "unknown"]), 0)


def test_patients_are_compared_in_any_spelling():
    with pytest.raises(errors.LeakageError, match="fold 0 leaks: 1 patients are in training too"):
        fold_split.split_by_fold(ROWS.assign(patient_id=["p 1", "q", "P1", "s"]), 0)


def test_copies_of_held_out_files_and_names_are_left_out_of_training():
    rows = ROWS.assign(image_digest=["0f", "", "0f", ""], lesion_id="")
    more = pd.DataFrame({"image_name": ["b2", "A1.jpg"], "patient_id": ["t", "u"], "image_digest": "", "lesion_id": ""})
    rows = pd.concat([rows, more.assign(target=[0, 1], fold=1, extra=False)], ignore_index=True)
    kept, held_out, left_out = fold_split.split_rows(rows, 0)
    assert held_out["image_name"].tolist() == ["a0", "a1"]
    assert kept["image_name"].tolist() == ["b1", "b2"]
    assert left_out == {"with the name of a held-out image": 1, "with the bytes of a held-out image": 1}


def test_extra_records_are_left_out_by_lesion_and_in_chains():
    rows = ROWS.assign(lesion_id=["l", "", "", ""])
    extra = pd.DataFrame(
        [
            ("c", "", "L"),  # of a held-out lesion
            ("d", "p", "m"),  # of a held-out patient
            ("e", "", "m"),  # of a lesion of that patient
            ("A0", "v", ""),  # shows a held-out image
            ("f", "v", ""),  # of the patient whom that image names otherwise
            ("g", "w", "n"),
        ],
        columns=["image_name", "patient_id", "lesion_id"],
    )
    extra = extra.assign(target=0, fold=-1, extra=True)
    kept, _, left_out = fold_split.split_rows(pd.concat([rows, extra], ignore_index=True), 0)
    assert kept["image_name"].tolist() == ["b0", "b1", "g"]
    assert left_out == {
        "with the name of a held-out image": 1,
        "of a held-out patient": 1,
        "of a held-out lesion": 1,
        "of a patient or a lesion of such an image": 2,
    }
