import types

import pandas as pd
import pytest

from isic_tf.artifacts import seen_images


def plan(names, patients):
    return types.SimpleNamespace(rows=pd.DataFrame({"image_name": names, "patient_id": patients, "target": 0}))


def test_numbers_of_a_record_set_are_not_kept_as_patients():
    found = seen_images.list_seen_images(plan(list("abcde"), ["IP_1", "12", "-1", "1:7", "IP_1"]))
    assert found.to_dict("list") == {"image_name": list("abcde"), "patient_id": ["IP_1", "", "", "", "IP_1"]}


def test_training_images_of_the_initial_weights_are_included_once(tmp_path):
    seen_images.write_seen_images(str(tmp_path), pd.DataFrame({"image_name": ["007", "b"], "patient_id": ["", "q"]}))
    found = seen_images.list_seen_images(plan(["b", "c"], ["q", "r"]), str(tmp_path))
    assert found.to_dict("list") == {"image_name": ["007", "b", "c"], "patient_id": ["", "q", "r"]}
    assert seen_images.read_seen_images(str(tmp_path)).to_dict("list") == {
        "image_name": ["007", "b"],
        "patient_id": ["", "q"],
    }


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
