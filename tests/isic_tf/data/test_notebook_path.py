"""The path of a notebook user: from a record set to batches for training and evaluation, with public names only."""

import numpy as np

from isic_tf import data


def test_from_a_record_set_to_batches(record_set):
    rows = data.read_sets(str(record_set))
    plan = data.plan_fold(rows, 0)
    train = data.make_train_dataset(plan.rows, image_size=32, batch_size=4, seed=0)
    held_out = data.make_eval_dataset(plan.held_out, image_size=32, batch_size=4)

    images, labels, seeds = next(train.as_numpy_iterator())
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.float32
    assert set(labels) <= {0.0, 1.0}
    assert seeds.shape == (4, 2)
    names = [name.decode() for _, batch in held_out.as_numpy_iterator() for name in batch if name]
    assert names == plan.held_out["image_name"].tolist()
    assert not set(names) & set(plan.rows["image_name"])


def test_oversampling_bags_and_listed_records(record_set):
    plan = data.plan_fold(data.read_sets(str(record_set)), None, malignant_oversampling=3)
    assert plan.size == len(plan.rows) + 2 * plan.rows["target"].sum()
    options = data.StreamOptions(shuffle_buffer=64)
    epoch = data.make_train_dataset(
        plan.rows, plan.samples_per_epoch, image_size=32, batch_size=1, seed=0, stream=options
    ).take(plan.size)
    assert sum(label for _, label, _ in epoch.as_numpy_iterator()) == 3 * plan.rows["target"].sum()

    listed = data.list_records(sorted(plan.rows["shard"].unique()), ["sex"])
    assert listed["image_name"].tolist() == plan.rows["image_name"].tolist()
    image, _ = next(data.make_eval_dataset(listed, image_size=32, batch_size=1).as_numpy_iterator())
    assert image.any()
