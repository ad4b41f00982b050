import itertools

import numpy as np
import pytest
import tensorflow as tf

from isic_tf import pipeline, records
from tfrecord_tools import schema


def batches(rows, count, **options):
    defaults = {"image_size": 32, "batch_size": 4, "seed": 5, "shuffle_buffer": 16}
    dataset = pipeline.train_dataset(rows, **{**defaults, **options})
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def keys(found):
    """The records of some batches, told apart by the second half of their seeds."""
    return [int(key) for _, _, seeds in found for key in seeds[:, 1]]


@pytest.fixture(scope="module")
def rows(index):
    return records.training_files(index, 0)[0]


def test_shapes_types_and_labels(rows):
    images, labels, seeds = batches(rows, 1)[0]
    assert images.shape == (4, 32, 32, 3)
    assert images.dtype == np.uint8
    assert labels.dtype == np.float32
    assert seeds.shape == (4, 2)
    by_key = {
        int(tf.strings.to_hash_bucket_fast(name, 2**62)): target
        for name, target in zip(rows["image_name"], rows["target"], strict=True)
    }
    assert labels.tolist() == [by_key[int(key)] for key in seeds[:, 1]]


def test_every_record_comes_once_in_each_epoch_and_epochs_differ_in_order(rows):
    found = keys(batches(rows, 3 * len(rows), batch_size=1))
    epochs = [found[start : start + len(rows)] for start in range(0, 3 * len(rows), len(rows))]
    assert len(set(epochs[0])) == len(rows)
    assert set(epochs[0]) == set(epochs[1]) == set(epochs[2])
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_held_out_records_of_a_shared_shard_never_appear(index):
    # A set whose patients are spread over shards: folds that cut through every shard.
    spread = index.assign(fold=np.arange(len(index)) % 2, patient_id="")
    kept, held_out = records.training_files(spread, 1)
    assert set(kept["shard"]) & set(held_out["shard"])
    expected = {int(tf.strings.to_hash_bucket_fast(name, 2**62)) for name in kept["image_name"]}
    assert set(keys(batches(kept, len(kept), batch_size=1))) == expected
    dataset = pipeline.eval_dataset(
        sorted(set(held_out["shard"])), image_size=32, batch_size=4, kept=held_out["image_name"]
    )
    names = [name.decode() for _, names in dataset.as_numpy_iterator() for name in names if name]
    assert names == held_out["image_name"].tolist()


def test_the_stream_is_the_same_twice_whatever_tensorflows_own_seed(rows):
    tf.random.set_seed(1)
    first = batches(rows, 20)
    tf.random.set_seed(2)
    again = batches(rows, 20)
    for one, other in zip(first, again, strict=True):
        for left, right in zip(one, other, strict=True):
            assert np.array_equal(left, right)
    assert keys(first) != keys(batches(rows, 20, seed=6))


def test_a_stream_that_starts_later_is_the_rest_of_the_same_one(rows):
    whole, start = batches(rows, 30), 4 * 13
    rest = batches(rows, 17, start=start)
    for one, other in zip(whole[13:], rest, strict=True):
        assert all(np.array_equal(left, right) for left, right in zip(one, other, strict=True))


def test_a_records_seed_does_not_depend_on_the_batch_size(rows):
    count = len(rows) // 6 * 6
    small, large = (np.concatenate([b[2] for b in batches(rows, count // size, batch_size=size)]) for size in (2, 6))
    assert np.array_equal(small, large)


def test_two_workers_share_the_stream_without_overlap(rows):
    whole = keys(batches(rows, 10, batch_size=4))
    shares = [keys(batches(rows, 10, batch_size=2, num_workers=2, worker=worker)) for worker in (0, 1)]
    assert shares[0] == whole[0::2]
    assert shares[1] == whole[1::2]


def test_two_replicas_share_the_stream_without_overlap(rows, mirrored):
    def input_fn(context):
        return pipeline.train_dataset(
            rows, image_size=32, batch_size=context.get_per_replica_batch_size(4), seed=5, shuffle_buffer=16
        )

    distributed = iter(mirrored.distribute_datasets_from_function(input_fn))
    found = []
    for _ in range(10):
        for seeds in mirrored.experimental_local_results(next(distributed)[2]):
            found += seeds[:, 1].numpy().tolist()
    assert found == keys(batches(rows, 10, batch_size=4))


def test_record_seeds_of_epochs_and_seeds_never_meet():
    seeds = {
        tuple(pipeline.record_seed("a", seed, tf.constant(epoch, tf.int64)).numpy())
        for seed in (0, 1)
        for epoch in (0, 1, 999_999)
    }
    assert len(seeds) == 6


def test_an_index_that_disagrees_with_its_records_stops_training(rows):
    stale = rows.assign(target=1 - rows["target"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="index and record disagree on the target of"):
        batches(stale, 1)


@pytest.mark.parametrize("foreign", ["some", "all"])
def test_an_index_of_other_images_stops_training_and_never_hangs(rows, foreign):
    names = rows["image_name"].where((np.arange(len(rows)) > 2) & (foreign == "some"), "gone_" + rows["image_name"])
    with pytest.raises(tf.errors.FailedPreconditionError, match="expected to contain [0-9]+ elements"):
        batches(rows.assign(image_name=names), len(rows), batch_size=1)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_evaluation_keeps_order_and_tail_at_any_batch_size(index, batch_size):
    dataset = pipeline.eval_dataset(sorted(set(index["shard"])), image_size=32, batch_size=batch_size)
    found = list(dataset.as_numpy_iterator())
    assert all(images.shape == (batch_size, 32, 32, 3) for images, _ in found)
    names = [name.decode() for _, names in found for name in names]
    assert names[: len(index)] == index["image_name"].tolist()
    assert set(names[len(index) :]) <= {""}


def test_a_label_in_a_test_record_changes_nothing(index, tmp_path):
    serialized = next(iter(records.read([index["shard"][0]])))
    image = records.parse(serialized, labelled=False)["image"].numpy()
    for name, label in (("plain", {}), ("labelled", {"target": 1})):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            writer.write(schema.to_example(image, "ISIC_1", **label))
    plain, labelled = (
        next(pipeline.eval_dataset([str(tmp_path / name)], image_size=32, batch_size=1).as_numpy_iterator())
        for name in ("plain", "labelled")
    )
    assert len(labelled) == 2
    assert np.array_equal(plain[0], labelled[0])
