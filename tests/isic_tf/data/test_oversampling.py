import numpy as np
import pytest
import tensorflow as tf

from isic_tf.data import oversampling

GROUPS = np.array([0, 1, 0, 1, 0])


def count(samples, seed=5, epoch=0):
    return oversampling.count_copies(GROUPS, samples, seed, tf.constant(epoch, tf.int64)).numpy()


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        ([3, 2], [1, 1, 1, 1, 1]),
        ([6, 2], [2, 1, 2, 1, 2]),
        ([3, 8], [1, 4, 1, 4, 1]),
        ([0, 2], [0, 1, 0, 1, 0]),
    ],
)
def test_multiples_of_a_group_occur_equally_often(samples, expected):
    found = count(samples)
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize("samples", [[4, 3], [2, 1], [8, 5]])
def test_a_remainder_goes_to_records_sampled_anew_for_each_epoch(samples):
    epochs = [count(samples, epoch=epoch) for epoch in range(20)]
    for found in epochs:
        for group, total in enumerate(samples):
            copies = found[group == GROUPS]
            assert copies.sum() == total
            assert copies.max() - copies.min() == 1
    # Every record has its turn.
    assert (np.max(epochs, axis=0) > np.min(epochs, axis=0)).all()


def test_copies_are_a_function_of_seed_and_epoch():
    same = [count([4, 3], seed=1, epoch=2).tolist() for _ in range(2)]
    assert same[0] == same[1]
    assert len({tuple(count([4, 3], seed=seed)) for seed in range(20)}) > 1
