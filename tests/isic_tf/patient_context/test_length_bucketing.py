import numpy as np
import pytest
import tensorflow as tf

from isic_tf.patient_context import length_bucketing


def test_rows_of_a_patient_come_in_the_order_of_their_keys():
    patients, keys = ["b", "a", "b", "a", "b"], np.array([[2, 0], [1, 0], [1, 9], [0, 0], [1, 8]])
    assert [rows.tolist() for rows in length_bucketing.group(patients, keys)] == [[3, 1], [4, 2, 0]]


def test_blank_patients_are_sets_of_their_own():
    sets = length_bucketing.group(np.array(["", "a", "", "a"]), np.zeros((4, 1)))
    assert sorted(map(tuple, sets)) == [(0,), (1, 3), (2,)]
    # A number is never blank.
    assert len(length_bucketing.group(np.array([0, 0, 1]), np.zeros((3, 1)))) == 2


def test_batches_hold_each_row_once_in_few_shapes():
    sizes = [1, 8, 9, 16, 17, 115, 1000, *[3] * 200]
    patients = np.repeat(np.arange(len(sizes)), sizes)
    sets = length_bucketing.group(patients, np.zeros((len(patients), 1)))
    for rng in (None, np.random.default_rng(0)):
        found = length_bucketing.batches(sets, rng)
        shapes = sorted(index.shape for index in found)
        assert shapes == [(1, 1024), (8, 128), (32, 32), (64, 16), (128, 8), (128, 8)]
        rows = np.concatenate([index[index >= 0] for index in found])
        assert np.array_equal(np.sort(rows), np.arange(len(patients)))
        assert all(len(set(patients[row[row >= 0]])) <= 1 for index in found for row in index)


def test_a_batch_worked_by_hand(mirrored):
    index = np.array([[2, 0, -1]])
    features, mask = length_bucketing.gather(index, [np.array([[1.0], [2], [3]], "float32")], replicas=2)
    assert features[..., 0].tolist() == [[3, 1, 0], [0, 0, 0]]
    assert mask.tolist() == [[1, 1, 0], [0, 0, 0]]
    (shares,) = length_bucketing.share(mirrored, (mask,))
    assert [part.numpy().tolist() for part in mirrored.experimental_local_results(shares)] == [[[1, 1, 0]], [[0, 0, 0]]]
    assert length_bucketing.share(tf.distribute.get_strategy(), (mask,))[0].shape == (2, 3)


def test_a_patient_of_more_lesions_than_memory_is_refused():
    with pytest.raises(
        ValueError, match="at most 4096 lesions per patient, got 4097 of unknown; leave the patient_id blank"
    ):
        length_bucketing.group(np.array(["unknown"] * 4097), np.zeros((4097, 1)))
