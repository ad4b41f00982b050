import dataclasses

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import record_stream

# Two shards whose records come in turns; the second lacks the record at position 1.
ROWS = pd.DataFrame({"shard": ["x", "y", "x", "y"], "position": [0, 2, 1, 0], "group": [0, 0, 1, 1]})


def stream(count, samples_per_epoch=None, **options):
    dataset = record_stream.stream_records(
        ROWS,
        samples_per_epoch,
        seed=3,
        options=record_stream.StreamOptions(**{"shuffle_buffer": 4, **options}),
        threads=1,
        read_files=False,
    )
    return [(int(row), int(copy), int(epoch)) for row, _, copy, epoch in dataset.take(count).as_numpy_iterator()]


def test_a_shard_is_read_in_file_order_without_the_positions_that_are_not_listed():
    open_shard, num_shards = record_stream.make_shard_reader(ROWS, read_files=False)
    assert num_shards == 2
    found = [[int(row) for row, _ in open_shard(shard).as_numpy_iterator()] for shard in range(2)]
    assert found == [[0, 2], [3, 1]]
    copies = tf.constant([1, 0, 0, 2], tf.int64)
    found = [[int(row) for row, _ in open_shard(shard, copies).as_numpy_iterator()] for shard in range(2)]
    assert found == [[0], [3]]


def test_every_epoch_has_all_records_once_and_their_number():
    found = stream(8)
    assert [epoch for _, _, epoch in found] == [0] * 4 + [1] * 4
    assert sorted(row for row, _, _ in found[:4]) == sorted(row for row, _, _ in found[4:]) == [0, 1, 2, 3]
    assert {copy for _, copy, _ in found} == {0}


def test_repeated_records_are_numbered_and_others_left_out():
    found = stream(5, np.array([1, 4]))
    assert sorted((row, copy) for row, copy, _ in found if row >= 2) == [(2, 0), (2, 1), (3, 0), (3, 1)]
    assert sum(row < 2 for row, _, _ in found) == 1


@pytest.mark.parametrize("start", [1, 4, 6])
def test_a_later_start_and_several_workers_read_parts_of_one_stream(start):
    complete = stream(12)
    assert stream(12 - start, start=start) == complete[start:]
    assert stream(3, start=4, num_workers=2, worker=1) == complete[5:10:2]


def test_a_shuffle_is_a_function_of_its_seed_and_epoch():
    def order(seed, epoch):
        dataset = tf.data.Dataset.range(20).map(lambda number: (number,))
        shuffled = record_stream.shuffle(dataset, 20, seed, tf.constant(epoch, tf.int64))
        return [int(number) for (number,) in shuffled.as_numpy_iterator()]

    assert sorted(order(0, 0)) == list(range(20))
    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_options_cannot_be_changed_after_they_are_made():
    with pytest.raises(dataclasses.FrozenInstanceError):
        record_stream.StreamOptions().start = 3
