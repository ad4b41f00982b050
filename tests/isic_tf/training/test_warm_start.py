import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk

from isic_tf.artifacts import run_directory, seen_images
from isic_tf.data import mixture
from isic_tf.models import backbones, classifiers
from isic_tf.training import warm_start
from tfrecord_tools import schema
from tfrecord_tools.io import atomic_write

TABLE = pd.DataFrame({"image_name": list("abcd"), "patient_id": ["p", "q", "7", "0:8"], "target": 0})


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A run of which fold 1 is finished."""
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    flags = {"backbone": "efficientnet-b0", "image_size": 64, "hidden_units": 4}
    atomic_write.write_text(
        f"{tmp_path}/run/{run_directory.FLAGS_FILE}", "".join(f"--{name}={flags[name]}\n" for name in flags)
    )
    folder = tmp_path / "run" / "fold1"
    folder.mkdir()
    tf.keras.utils.set_random_seed(7)
    classifier = classifiers.build_classifier("efficientnet-b0", 64, hidden_units=4)
    classifier.save_weights(str(folder / run_directory.BEST_WEIGHTS))
    (folder / run_directory.METRICS_FILE).write_text("{}")
    seen_images.write_seen_images(str(folder), seen_images.list_seen_images(plan_of(TABLE)))
    return str(folder), classifier


def plan_of(rows, held_out=TABLE[:0]):
    return mixture.Plan(rows, np.array([len(rows)]), held_out, "")


def test_each_fold_takes_its_own_weights_or_all_those_that_are_named(source, tmp_path):
    folder, _ = source
    assert warm_start.find_source(f"{tmp_path}/run", 1) == folder
    assert warm_start.find_source(folder, 0) == warm_start.find_source(f"{folder}/", None) == folder
    with pytest.raises(ValueError, match=r"to be a run with a finished fold0, got .*run; there are .*/fold1, and any"):
        warm_start.find_source(f"{tmp_path}/run", 0)
    with pytest.raises(ValueError, match="expected --init_from to be a run with a finished full, got nowhere"):
        warm_start.find_source("nowhere", None)


def test_weights_that_have_seen_a_held_out_image_or_patient_are_refused(source):
    folder, _ = source
    fresh = pd.DataFrame({"image_name": ["x", "y"], "patient_id": ["r", ""]})
    warm_start.refuse_leaks(plan_of(TABLE, fresh), folder)
    # A number is each set's own code: not the same patient.
    warm_start.refuse_leaks(plan_of(TABLE, fresh.assign(patient_id=["7", "0:8"])), folder)
    for leaking in (fresh.assign(image_name=["x", "d"]), fresh.assign(patient_id=["r", "q"])):
        with pytest.raises(ValueError, match="have seen 1 of the 2 held-out images, .* or patients, [dy] first"):
            warm_start.refuse_leaks(plan_of(TABLE, leaking), folder)
    pairs = pd.DataFrame([["a", "other"], ["other", "x"]], columns=schema.PAIR_COLUMNS)
    with pytest.raises(ValueError, match="have seen 1 of the 2 held-out images, .* or patients, x first"):
        warm_start.refuse_leaks(plan_of(TABLE, fresh), folder, pairs)


def test_weights_that_are_named_as_a_file_tell_what_they_have_seen(source, tmp_path):
    folder, _ = source
    assert seen_images.find_origin(None, "noisy-student") is None
    assert seen_images.find_origin(folder, "noisy-student") == folder
    assert seen_images.find_origin(None, f"{folder}/{run_directory.BEST_WEIGHTS}") == str(folder)
    assert seen_images.find_origin(None, str(tmp_path / "downloaded.h5")) is None


def test_what_weights_have_seen_is_handed_on(source):
    folder, _ = source
    more = pd.DataFrame({"image_name": ["x", "a"], "patient_id": ["r", "p"]})
    seen = seen_images.list_seen_images(plan_of(more), folder)
    assert seen["image_name"].tolist() == ["a", "b", "c", "d", "x"]
    assert seen["patient_id"].tolist() == ["p", "q", "", "", "r"]


def test_weights_are_copied_across_sizes_and_a_head_of_another_shape_is_new(source, capsys):
    folder, theirs = source
    trunk = classifiers.backbone_of(theirs).get_weights()
    classifier = classifiers.build_classifier("efficientnet-b0", 32, hidden_units=4)
    warm_start.load_weights(classifier, folder, make_config(**{"image_size": 32}))
    assert all(np.array_equal(*pair) for pair in zip(classifier.get_weights(), theirs.get_weights(), strict=True))
    assert f"starting from {folder}/{run_directory.BEST_WEIGHTS}\n" in capsys.readouterr().out
    other = classifiers.build_classifier("efficientnet-b0", 32, target="diagnosis", hidden_units=4)
    logits = other.get_layer("logits").get_weights()
    warm_start.load_weights(other, folder, make_config(**{"image_size": 32}))
    assert all(np.array_equal(*pair) for pair in zip(classifiers.backbone_of(other).get_weights(), trunk, strict=True))
    assert np.array_equal(other.get_layer("hidden").get_weights()[0], theirs.get_layer("hidden").get_weights()[0])
    assert np.array_equal(other.get_layer("logits").get_weights()[0], logits[0])
    assert "but for logits" in capsys.readouterr().out


def test_weights_of_another_backbone_are_refused(source):
    with pytest.raises(ValueError, match="expected a run of efficientnet-b1 for --init_from, .* is of efficientnet-b0"):
        warm_start.load_weights(None, source[0], make_config(**{"backbone": "efficientnet-b1"}))
