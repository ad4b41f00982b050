import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import read_errors, record_loading
from tfrecord_tools.imaging import codec
from tfrecord_tools.io import tf_example

NAMES = ["a", "b", "c"]
TARGETS = [0, 1, 0]
ROWS = pd.DataFrame({"image_name": NAMES, "target": TARGETS})


def write(**columns):
    """Returns three serialized records of gray images, 40 times their number; None leaves out the targets."""
    names, targets = columns.get("names", NAMES), columns.get("targets", TARGETS)
    images = [codec.encode(np.full((32, 32, 3), 40 * number, np.uint8), 90) for number in range(3)]
    labels = [{}] * 3 if targets is None else [{"target": target} for target in targets]
    return [tf_example.to_example(image, name, **one) for image, name, one in zip(images, names, labels, strict=True)]


def load(serialized, rows, **options):
    """Returns the batch of all records, as the pipeline loads it."""
    load_record, finish_batch = record_loading.make_loader(rows, 32, **options)
    numbers = tf.range(len(serialized), dtype=tf.int64)
    dataset = tf.data.Dataset.from_tensor_slices((serialized, numbers))
    dataset = dataset.map(lambda data, row: (load_record(data, row), row)).batch(len(serialized), drop_remainder=True)
    return next(iter(dataset.map(finish_batch))).numpy()


def test_records_are_decoded_in_their_order():
    images = load(write(), ROWS)
    assert images.shape == (3, 32, 32, 3)
    assert images.dtype == np.uint8
    assert images.mean(axis=(1, 2, 3)) == pytest.approx([0, 40, 80], abs=1)


def test_a_label_that_contradicts_the_index_is_refused_with_the_first_image():
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{read_errors.STALE_LABEL}\W+b\b"):
        load(write(targets=[0, 0, 1]), ROWS)


def test_a_record_of_another_image_is_refused_with_the_name_in_the_index():
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{read_errors.STALE_NAME}\W+c\b"):
        load(write(names=["a", "b", "x"]), ROWS)


def test_the_label_of_a_record_is_not_read_where_the_rows_have_no_target():
    rows = ROWS[["image_name"]]
    expected = load(write(), ROWS)
    assert np.array_equal(load(write(targets=[1, 0, 1]), rows), expected)
    assert np.array_equal(load(write(targets=None), rows), expected)


def test_the_label_of_a_record_is_not_compared_with_a_prediction():
    rows = ROWS.assign(pseudo=[False, True, False])
    # The second target is a prediction: 1 in the index, 0 in the record.
    assert np.array_equal(load(write(targets=[0, 0, 0]), rows), load(write(), ROWS))
    with pytest.raises(tf.errors.InvalidArgumentError, match=rf"{read_errors.STALE_LABEL}\W+c\b"):
        load(write(targets=[0, 0, 1]), rows)


def test_images_of_a_cache_are_fetched_by_their_numbers():
    stored = np.random.default_rng(0).integers(0, 256, (9, 32, 32, 3), np.uint8)
    images = load([b""] * 3, ROWS.assign(number=[7, 2, 5]), images=lambda numbers: stored[numbers])
    assert np.array_equal(images, stored[[7, 2, 5]])
