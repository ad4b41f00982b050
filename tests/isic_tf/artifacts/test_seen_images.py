import types

import pandas as pd
import pytest

from isic_tf.artifacts import seen_images


def plan(names, patients, **columns):
    rows = pd.DataFrame({"image_name": names, "patient_id": patients, "target": 0, **columns})
    return types.SimpleNamespace(rows=rows)


def test_numbers_are_kept_with_the_identity_of_their_set():
    found = seen_images.list_seen_images(plan(list("abcde"), ["IP_1", "12", "-1", "nan", "ip_1"]))
    names, patients = found["image_name"].tolist(), found["patient_id"].tolist()
    assert names == list("abcde")
    assert patients[0] == "IP_1"
    # The first digits of SHA-256 of "b,12".
    assert patients[1] == "21db39f56e40fa63#12"
    assert patients[2:] == ["", "", "ip_1"]
    assert set(found["lesion_id"]) == set(found["image_digest"]) == {""}


def test_lesions_and_digests_are_kept():
    found = seen_images.list_seen_images(plan(["a"], [""], lesion_id=["IL_1"], image_digest=["0f"]))
    assert found.to_dict("list") == {
        "image_name": ["a"],
        "patient_id": [""],
        "lesion_id": ["IL_1"],
        "image_digest": ["0f"],
    }


def test_training_images_of_the_initial_weights_are_included_once(tmp_path):
    # A file of release 0.1, without lesions and digests.
    seen_images.write_seen_images(str(tmp_path), pd.DataFrame({"image_name": ["007", "b"], "patient_id": ["", "q"]}))
    found = seen_images.list_seen_images(plan(["b", "c"], ["q", "r"]), str(tmp_path))
    assert found[["image_name", "patient_id"]].to_dict("list") == {
        "image_name": ["007", "b", "c"],
        "patient_id": ["", "q", "r"],
    }
    known = seen_images.read_seen_images(str(tmp_path))
    assert known[["image_name", "patient_id", "lesion_id", "image_digest", "patient_key"]].to_numpy().tolist() == [
        ["007", "", "", "", ""],
        ["b", "q", "", "", "q"],
    ]


def test_what_is_written_is_what_is_read(tmp_path):
    seen = seen_images.list_seen_images(plan(["a", "b"], ["P 1", "7"], lesion_id=["L", "3"], image_digest=["0f", ""]))
    seen_images.write_seen_images(str(tmp_path), seen)
    found = seen_images.read_seen_images(str(tmp_path))
    assert found[list(seen)].to_numpy().tolist() == seen.to_numpy().tolist()
    assert found["patient_key"].tolist() == ["p1", seen["patient_id"].iloc[1]]


SEEN = pd.DataFrame(
    [("ISIC_1", "p", "", "0f"), ("b", "S+T#7", "", ""), ("c", "", "l", "")],
    columns=["image_name", "patient_key", "lesion_key", "image_digest"],
)


@pytest.mark.parametrize(
    ("row", "patients_are", "expected"),
    [
        (("isic_0001_downsampled", "", "", ""), None, True),
        (("x", "", "", "0f"), None, True),
        (("x", "p", "", ""), None, True),
        (("x", "", "l", ""), None, True),
        (("x", "T#7", "", ""), None, True),
        (("x", "T#8", "", ""), None, False),
        (("x", "U#7", "", ""), None, False),
        (("x", "U#7", "", ""), "different", False),
        (("x", "U#7", "", ""), "same", True),
        (("x", "U#8", "", ""), "same", False),
        (("x", "q", "m", "aa"), None, False),
    ],
)
def test_images_lesions_and_patients_that_were_trained_on_are_found(row, patients_are, expected):
    rows = pd.DataFrame([row], columns=list(SEEN))
    assert seen_images.find_trained_on(rows, SEEN, patients_are).tolist() == [expected]


def test_duplicates_and_chains_lead_to_what_was_trained_on():
    rows = pd.DataFrame(
        [("d", "r", "m", ""), ("e", "r", "", ""), ("f", "", "m", ""), ("g", "s", "", "")], columns=list(SEEN)
    )
    pairs = pd.DataFrame({"image_name_1": ["D.jpg"], "image_name_2": ["isic_1"]})
    assert seen_images.find_trained_on(rows, SEEN, pairs=pairs).tolist() == [True, True, True, False]
    assert not seen_images.find_trained_on(rows, SEEN).any()


def test_the_origin_of_weights_is_a_directory_that_records_their_training_images(tmp_path):
    weights = str(tmp_path / "best.weights.h5")
    assert seen_images.find_origin(None, None) is None
    assert seen_images.find_origin("runs/b0/fold0", weights) == "runs/b0/fold0"
    assert seen_images.find_origin(None, weights) is None
    (tmp_path / "seen_images.csv").write_text("image_name,patient_id\n")
    assert seen_images.find_origin(None, weights) == str(tmp_path)


def test_a_missing_record_of_training_images_is_refused(tmp_path):
    with pytest.raises(ValueError, match="seen_images.csv"):
        seen_images.read_seen_images(str(tmp_path))
