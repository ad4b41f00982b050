import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk

from isic_tf.artifacts import person_numbers, run_directory, seen_images
from isic_tf.data import mixture
from isic_tf.models import backbones, classifiers
from isic_tf.training import warm_start
from tfrecord_tools import errors, schema
from tfrecord_tools.io import atomic_write

TABLE = pd.DataFrame({"image_name": list("abcd"), "patient_id": ["p", "q", "7", ""], "target": 0})


@pytest.fixture
def source(tmp_path, monkeypatch):
    """A run of which fold 1 is finished."""
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    flags = {"backbone": "efficientnet-lite0", "image_size": 64, "hidden_units": 4}
    atomic_write.write_text(
        f"{tmp_path}/run/{run_directory.FLAGS_FILE}", "".join(f"--{name}={flags[name]}\n" for name in flags)
    )
    directory = tmp_path / "run" / "fold1"
    directory.mkdir()
    tf.keras.utils.set_random_seed(7)
    classifier = classifiers.build_classifier("efficientnet-lite0", 64, hidden_units=4)
    classifier.save_weights(str(directory / run_directory.BEST_WEIGHTS))
    (directory / run_directory.METRICS_FILE).write_text("{}")
    seen_images.write_seen_images(str(directory), seen_images.list_seen_images(plan_of(TABLE)))
    return str(directory), classifier


def plan_of(rows, held_out=TABLE[:0]):
    return mixture.Plan(rows, np.array([len(rows)]), held_out, "")


def test_each_fold_takes_its_own_weights_or_all_those_that_are_named(source, tmp_path):
    directory, _ = source
    assert warm_start.find_source(f"{tmp_path}/run", 1) == directory
    assert warm_start.find_source(directory, 0) == warm_start.find_source(f"{directory}/", None) == directory
    with pytest.raises(
        ValueError, match=r"to be a run with a trained fold0, got .*run; to start every fold .* use .*/fold1"
    ):
        warm_start.find_source(f"{tmp_path}/run", 0)
    with pytest.raises(ValueError, match="expected --init_from to be a run with a trained full, got nowhere; train it"):
        warm_start.find_source("nowhere", None)


def test_weights_trained_on_a_held_out_image_or_patient_are_refused(source):
    directory, _ = source
    fresh = pd.DataFrame({"image_name": ["x", "y"], "patient_id": ["r", ""]})
    warm_start.check_leakage(plan_of(TABLE, fresh), directory)
    for leaking in (fresh.assign(image_name=["x", "d"]), fresh.assign(patient_id=["r", "q"])):
        with pytest.raises(
            ValueError, match=r"were trained on 1 of the 2 held-out images, .* their patients \(first: [dy]\)"
        ):
            warm_start.check_leakage(plan_of(TABLE, leaking), directory)
    pairs = pd.DataFrame([["a", "other"], ["other", "x"]], columns=schema.PAIR_COLUMNS)
    with pytest.raises(ValueError, match=r"were trained on 1 of the 2 held-out images, .* their patients \(first: x\)"):
        warm_start.check_leakage(plan_of(TABLE, fresh), directory, pairs)


@pytest.mark.parametrize("name", ["ISIC_0000000_downsampled", "isic_0000000.JPG"])
def test_a_held_out_image_is_recognized_by_its_other_name_among_those_that_weights_were_trained_on(tmp_path, name):
    seen = seen_images.list_seen_images(plan_of(TABLE.assign(image_name=["a", "b", "c", name])))
    seen_images.write_seen_images(str(tmp_path), seen)
    held_out = pd.DataFrame({"image_name": ["ISIC_0000000", "y"], "patient_id": ["", ""]})
    with pytest.raises(errors.LeakageError, match=r"trained on 1 of the 2 held-out images, .* \(first: ISIC_0000000\)"):
        warm_start.check_leakage(plan_of(TABLE, held_out), str(tmp_path))


def test_held_out_patients_are_recognized_by_their_numbers(source):
    directory, _ = source
    # Another image of patient 7 of the set that the weights were trained on.
    rows = person_numbers.add_keys(TABLE)
    held_out = pd.DataFrame({"image_name": ["x"], "patient_id": ["7"], "lesion_key": [""]})
    of_the_set = held_out.assign(patient_key=rows["patient_key"].iloc[2])
    with pytest.raises(errors.LeakageError, match=r"trained on 1 of the 1 held-out images, .* \(first: x\)"):
        warm_start.check_leakage(plan_of(rows, of_the_set), directory, patients_are="different")
    of_another_set = held_out.assign(patient_key="another#7")
    warm_start.check_leakage(plan_of(rows, of_another_set), directory, patients_are="different")
    warm_start.check_leakage(plan_of(rows, held_out.assign(patient_key="another#8")), directory)
    with pytest.raises(errors.LeakageError, match="trained on 1 of the 1 held-out images"):
        warm_start.check_leakage(plan_of(rows, of_another_set), directory, patients_are="same")
    with pytest.raises(
        errors.ConfigError, match="the held-out images and the training images of .*/fold1 share 1 numbers"
    ):
        warm_start.check_leakage(plan_of(rows, of_another_set), directory)


def test_held_out_images_are_recognized_in_any_spelling_by_lesion_and_by_bytes(source, tmp_path):
    rows = TABLE.assign(lesion_id=["", "", "", "l"], image_digest=["0f", "", "", ""])
    seen_images.write_seen_images(str(tmp_path), seen_images.list_seen_images(plan_of(rows)))
    blank = {"patient_id": "", "lesion_id": "", "image_digest": ""}
    for name, changes in (("A.jpg", {}), ("x", {"lesion_id": "L"}), ("x", {"image_digest": "0f"})):
        held_out = pd.DataFrame([{"image_name": name, **blank, **changes}])
        with pytest.raises(errors.LeakageError, match="trained on 1 of the 1 held-out images"):
            warm_start.check_leakage(plan_of(rows, held_out), str(tmp_path))
    warm_start.check_leakage(plan_of(rows, pd.DataFrame([{"image_name": "x", **blank}])), str(tmp_path))


def test_the_training_images_of_a_weights_file_are_found_beside_it(source, tmp_path):
    directory, _ = source
    assert seen_images.find_origin(None, "noisy-student") is None
    assert seen_images.find_origin(directory, "noisy-student") == directory
    assert seen_images.find_origin(None, f"{directory}/{run_directory.BEST_WEIGHTS}") == str(directory)
    assert seen_images.find_origin(None, str(tmp_path / "downloaded.h5")) is None


def test_training_images_of_initial_weights_are_recorded_too(source):
    directory, _ = source
    more = pd.DataFrame({"image_name": ["x", "a"], "patient_id": ["r", "p"]})
    seen = seen_images.list_seen_images(plan_of(more), directory)
    assert seen["image_name"].tolist() == ["a", "b", "c", "d", "x"]
    # The first digits of SHA-256 of "c,7".
    assert seen["patient_id"].tolist() == ["p", "q", "ce658cd86e8eabd9#7", "", "r"]


def test_weights_are_copied_across_sizes_and_a_head_of_another_shape_is_new(source, capsys):
    directory, theirs = source
    trunk = classifiers.backbone_of(theirs).get_weights()
    classifier = classifiers.build_classifier("efficientnet-lite0", 32, hidden_units=4)
    warm_start.load_weights(classifier, directory, make_config(**{"image_size": 32}))
    assert all(np.array_equal(*pair) for pair in zip(classifier.get_weights(), theirs.get_weights(), strict=True))
    assert f"starting from {directory}/{run_directory.BEST_WEIGHTS}\n" in capsys.readouterr().out
    own = make_config(image_size=32, target="columns:A", positive_classes="A", hidden_units=4)
    other = classifiers.build_from_config(own)
    logits = other.get_layer("logits").get_weights()
    # One output too, but of another label.
    warm_start.load_weights(other, directory, own)
    assert all(np.array_equal(*pair) for pair in zip(classifiers.backbone_of(other).get_weights(), trunk, strict=True))
    assert np.array_equal(other.get_layer("hidden").get_weights()[0], theirs.get_layer("hidden").get_weights()[0])
    assert np.array_equal(other.get_layer("logits").get_weights()[0], logits[0])
    out = capsys.readouterr().out
    assert "except logits; note: that run has other classes (malignant or not), so what was learned" in out


def test_weights_of_another_backbone_are_refused(source):
    with pytest.raises(
        ValueError, match="expected a run of efficientnet-b1 for --init_from, .* is a run of efficientnet-lite0"
    ):
        warm_start.load_weights(None, source[0], make_config(**{"backbone": "efficientnet-b1"}))
