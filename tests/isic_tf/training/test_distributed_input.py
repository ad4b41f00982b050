import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.data import fold_split, mixture
from isic_tf.training import distributed_input


@pytest.fixture
def rows(tmp_path):
    """Ten records of two patients in two shards of 1 MB and 3 MB."""
    paths = [tmp_path / "a.tfrec", tmp_path / "b.tfrec"]
    for path, size in zip(paths, (1_000_000, 3_000_000), strict=True):
        path.write_bytes(bytes(size))
    shards = [str(paths[number // 5]) for number in range(10)]
    return pd.DataFrame({"shard": shards, "patient_id": [f"p{number // 5}" for number in range(10)]})


@pytest.mark.parametrize(
    ("changes", "is_cached", "text"),
    [
        # 4 of 10 records of 4 MB.
        ({"shuffle_buffer": 4}, False, "shuffling 4 records at a time, at most 2 MB"),
        ({"shuffle_buffer": 100}, False, "shuffling 10 records at a time, at most 4 MB"),
        # From a cache the buffer holds numbers only.
        ({"shuffle_buffer": 4}, True, "shuffling 4 records at a time, at most 0 MB"),
        # Twice the buffer, and up to one record less than a bag for each of two patients: 2 * 1 + 2 * (3 - 1).
        ({"shuffle_buffer": 1, "context": "set", "bag_size": 3}, False, "shuffling 6 records at a time, at most 2 MB"),
    ],
)
def test_the_shuffle_buffer_is_described(rows, changes, is_cached, text):
    assert distributed_input.describe_shuffle(rows, make_config(**changes), is_cached) == text


def test_each_replica_gets_its_share_of_the_global_batch(index, record_set, mirrored):
    config = make_config(data_dir=str(record_set), global_batch_size=8)
    plan = mixture.plan_fold(mixture.read_sets(str(record_set)), 0)
    batch = next(distributed_input.make_batches(mirrored, plan, None, config, start=0))
    images, labels, seeds = (mirrored.experimental_local_results(part) for part in batch)
    assert [part.shape for part in images] == [(4, 32, 32, 3)] * 2
    assert [part.shape for part in labels] == [(4, 1)] * 2
    # Together they are the batch of one replica, in order.
    alone = next(distributed_input.make_batches(tf.distribute.get_strategy(), plan, None, config, start=0))
    assert np.array_equal(np.concatenate([part.numpy() for part in seeds]), alone[2].numpy())
    assert len(fold_split.split_by_fold(index, 0)[1]) == len(plan.held_out)
