import base64

import cv2
import numpy as np
import pandas as pd
import pytest
from tiny_runs import build_tiny, make_run

from isic_tf.data import record_metadata
from isic_tf.evaluation import failure_cases, joined_tables
from isic_tf.models import classifiers
from isic_tf.visualization import grad_cam, record_images


@pytest.fixture
def table():
    columns = {"image_name": list("abcdef"), "patient_id": ["p", "p", "", "q", "q", "r"], "target": [1, 1, 1, 0, 0, 0]}
    return pd.DataFrame({**columns, "prediction": [0.1, 0.6, 0.05, 0.7, 0.9, 0.2]}).set_index([[9, 8, 7, 6, 5, 4]])


def test_the_worst_come_first(table):
    missed, alarms = failure_cases.find(table, 0.5, 5)
    assert missed["image_name"].tolist() == ["c", "a"]
    assert alarms["image_name"].tolist() == ["e", "d"]
    missed, alarms = failure_cases.find(table, 0.5, 1)
    assert (missed["image_name"].tolist(), alarms["image_name"].tolist()) == (["c"], ["e"])


def test_without_a_threshold_all_malignant_images_are_missed(table):
    missed, alarms = failure_cases.find(table, None, 5)
    assert missed["image_name"].tolist() == ["c", "a", "b"]
    assert alarms.empty


def test_known_metadata_is_described(table):
    table = table.assign(
        sex="female", age_approx=["45.0", "", "50", "", "", ""], diagnosis=["unknown", "melanoma", "", "", "", ""]
    )
    picture = {"image": "data:x", "map": "data:y", "probability": 0.104, "seen": False}
    described = failure_cases.describe(table[:2], {"a": picture, "b": {**picture, "probability": 0.59}})
    assert described[0] == {
        **{"image_name": "a", "patient_id": "p", "prediction": 0.1, "said": "female, 45 years"},
        **picture,
        "differs": False,
    }
    assert (described[1]["said"], described[1]["differs"]) == ("female, melanoma", True)
    unseen = failure_cases.describe(table[:1], {})[0]
    assert (unseen["image"], unseen["probability"], unseen["differs"]) == (None, None, False)


def decode(url):
    start = "data:image/jpeg;base64,"
    assert url.startswith(start)
    return cv2.imdecode(np.frombuffer(base64.b64decode(url[len(start) :]), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]


@pytest.mark.parametrize("side", [32, 600])
def test_thumbnails_are_small_jpegs_in_the_right_colors(side):
    image = np.full((side, side, 3), (200, 100, 30), np.uint8)
    found = decode(failure_cases.encode(image))
    assert found.shape == (failure_cases.SIDE, failure_cases.SIDE, 3)
    assert np.abs(found.astype(int) - (200, 100, 30)).max() < 6


def test_images_come_with_the_map_of_the_fold_that_held_them_out(tmp_path, index, record_set, monkeypatch):
    monkeypatch.setattr(classifiers, "build_classifier", build_tiny)
    make_run(tmp_path, index)
    names = [*index["image_name"][[3, 40]], "ISIC_elsewhere"]
    pictures = failure_cases.load_pictures(
        names, str(tmp_path), joined_tables.read_records(f"{record_set}/train*.tfrec")
    )
    assert set(pictures) == set(names[:2])
    rows = grad_cam.list_records(str(tmp_path), f"{record_set}/train*.tfrec")
    rows = rows[rows["image_name"].isin(names)]
    found = grad_cam.explain_rows(str(tmp_path), rows)
    for place, name in enumerate(rows["image_name"]):
        assert pictures[name]["probability"] == pytest.approx(found.probabilities[place], abs=1e-6)
        assert pictures[name]["seen"] is False
        laid = cv2.resize(grad_cam.overlay(found.images, found.maps)[place], (failure_cases.SIDE, failure_cases.SIDE))
        assert np.abs(decode(pictures[name]["map"]).astype(int) - laid).mean() < 8


def test_without_a_run_there_are_only_images(record_set, index):
    name = index["image_name"][5]
    (picture,) = failure_cases.load_pictures(
        [name], None, joined_tables.read_records(f"{record_set}/train*.tfrec")
    ).values()
    rows = record_metadata.list_records([index["shard"][5]])
    expected = cv2.resize(
        record_images.load_images(rows[rows["image_name"] == name], 256)[0], (failure_cases.SIDE, failure_cases.SIDE)
    )
    assert np.abs(decode(picture["image"]).astype(int) - expected).mean() < 8
    assert (picture["map"], picture["probability"], picture["seen"]) == (None, None, None)


def test_without_records_or_without_the_images_there_are_no_pictures(record_set):
    assert failure_cases.load_pictures(["a"], None, None) == {}
    assert failure_cases.load_pictures(["a"], None, joined_tables.read_records(f"{record_set}/train*.tfrec")) == {}
