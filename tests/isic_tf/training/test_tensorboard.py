import numpy as np
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.data import mixture
from isic_tf.training import tensorboard


def read_events(directory):
    """Returns all values of the events files of a directory, by tag and step."""
    found = {}
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            found |= {(value.tag, event.step): value for value in event.summary.value}
    return found


def test_figures_are_written_by_epoch(tmp_path):
    with tensorboard.writing(str(tmp_path)) as write:
        row = {"epoch": 3, "loss": 0.5, "gradient_norm": 2.0, "auc": 0.75, "partial_auc": 0.1, "learning_rate": 1e-3}
        write(row, 100.0, 0.25)
    found = {tag: float(tf.make_ndarray(value.tensor)) for (tag, step), value in read_events(tmp_path).items()}
    assert found == {
        "train/loss": 0.5,
        "train/gradient_norm": 2.0,
        "train/learning_rate": pytest.approx(1e-3),
        "held_out/auc": 0.75,
        "held_out/partial_auc_above_80_sensitivity": pytest.approx(0.1),
        "speed/images_per_second": 100.0,
        "speed/share_of_time_waiting_for_input": 0.25,
    }
    assert {step for _, step in read_events(tmp_path)} == {3}


def test_nothing_is_written_where_there_is_no_directory():
    with tensorboard.writing(None) as write:
        write({"epoch": 1}, 1.0, 0.0)


def test_a_sample_batch_is_written_as_the_first_epoch_augments_it(tmp_path, record_set):
    rows = mixture.read_sets(str(record_set))
    tensorboard.write_samples(str(tmp_path), rows, make_config(**{"augment_policy": "winner"}))
    ((tag, step), value), *_ = read_events(tmp_path).items()
    width, height, *pictures = tf.make_ndarray(value.tensor)
    assert (tag, step, width, height) == ("sample_batch", 0, b"32", b"32")
    assert len(pictures) == 8
    decoded = np.stack([tf.io.decode_png(picture).numpy() for picture in pictures])
    assert decoded.std() > 5
    assert value.metadata.summary_description.startswith("malignant: ")
