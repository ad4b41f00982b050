import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import record_seeds


def int64(*numbers):
    return tf.constant(numbers, tf.int64)


def test_keys_are_hashes_of_the_key_column_and_not_of_the_name():
    rows = pd.DataFrame({"image_name": ["a", "a", "b"], "key": ["a", "a#1", "b"]})
    found = record_seeds.hash_keys(rows).numpy()
    assert found.dtype == np.int64
    # As they were when the first runs were trained: resumed runs depend on them.
    assert found[0] == int(tf.strings.to_hash_bucket_fast("a", 2**62))
    assert len(set(found)) == 3
    assert (found >= 0).all()
    assert (found < 2**62).all()


def test_a_seed_worked_by_hand():
    found = record_seeds.record_seed(int64(7, 8), 3, int64(2, 2), int64(0, 1)).numpy()
    assert found.tolist() == [[3_000_002, 7], [2**52 + 3_000_002, 8]]


def test_seeds_of_a_batch_are_those_of_its_records():
    keys = int64(1, 2, 3)
    epochs = int64(0, 5, 999_999)
    copies = int64(0, 1, 2_047)
    batch = record_seeds.record_seed(keys, 2**31 - 1, epochs, copies).numpy()
    single = [
        record_seeds.record_seed(key, 2**31 - 1, epoch, copy).numpy()
        for key, epoch, copy in zip(keys, epochs, copies, strict=True)
    ]
    assert batch.tolist() == np.stack(single).tolist()
    assert (batch > 0).all()
