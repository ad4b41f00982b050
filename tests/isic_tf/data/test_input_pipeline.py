import collections
import itertools
import multiprocessing

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf

from isic_tf.data import (
    decoding,
    fold_split,
    image_cache,
    input_pipeline,
    mixture,
    record_metadata,
    record_seeds,
    record_stream,
)
from tfrecord_tools import errors
from tfrecord_tools.io import tf_example

OPTIONS = {"image_size": 32, "batch_size": 4, "seed": 5, "threads": 2}


def make_dataset(
    rows, samples_per_epoch=None, images=None, start=0, num_workers=1, worker=0, shuffle_buffer=16, **options
):
    stream = record_stream.StreamOptions(
        start=start, num_workers=num_workers, worker=worker, shuffle_buffer=shuffle_buffer
    )
    return input_pipeline.make_train_dataset(
        rows, samples_per_epoch, images=images, stream=stream, **{**OPTIONS, **options}
    )


def batches(rows, count, samples_per_epoch=None, **options):
    dataset = make_dataset(rows, samples_per_epoch, **options)
    return list(itertools.islice(dataset.as_numpy_iterator(), count))


def keys(found):
    """The records of some batches, identified by the second half of their seeds."""
    return [int(key) for _, _, seeds in found for key in seeds[:, 1]]


@pytest.fixture(scope="module")
def table(record_set):
    return mixture.read_sets(str(record_set))


@pytest.fixture(scope="module")
def rows(table):
    return fold_split.split_rows(table, 0)[0]


@pytest.fixture(scope="module")
def uneven(table):
    """Rows and samples per epoch with an uneven number of repeats."""
    kept, _, _ = fold_split.split_rows(table, 1)
    kept, _ = mixture.weigh(kept, dict.fromkeys(kept["source"], 1.0))
    sizes = kept.groupby("group").size()
    return kept, np.array([int(1.5 * sizes[0]), int(2.3 * sizes[1])])


def names_of(rows, found):
    by_key = {int(tf.strings.to_hash_bucket_fast(name, 2**62)): name for name in rows["image_name"]}
    return [by_key[key] for key in keys(found)]


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


def test_held_out_records_of_a_shared_shard_never_appear(table):
    # A set whose patients are spread over shards: folds that cut through every shard.
    spread = table.assign(fold=np.arange(len(table)) % 2, patient_id="", patient_key="")
    kept, held_out = fold_split.split_by_fold(spread, 1)
    assert set(kept["shard"]) & set(held_out["shard"])
    expected = {int(tf.strings.to_hash_bucket_fast(name, 2**62)) for name in kept["image_name"]}
    assert set(keys(batches(kept, len(kept), batch_size=1))) == expected
    dataset = input_pipeline.make_eval_dataset(held_out, image_size=32, batch_size=4, threads=2)
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
        return make_dataset(rows, batch_size=context.get_per_replica_batch_size(4))

    distributed = iter(mirrored.distribute_datasets_from_function(input_fn))
    found = []
    for _ in range(10):
        for seeds in mirrored.experimental_local_results(next(distributed)[2]):
            found += seeds[:, 1].numpy().tolist()
    assert found == keys(batches(rows, 10, batch_size=4))


def test_record_seeds_of_epochs_and_seeds_never_meet():
    seeds = {
        tuple(record_seeds.record_seed(*(tf.constant(n, tf.int64) for n in (7, seed, epoch, copy))).numpy())
        for seed in (0, 1, 2**31 - 1)
        for epoch in (0, 1, 999_999)
        for copy in (0, 1, 2_047)
    }
    assert len(seeds) == 27
    assert all(0 <= first < 2**63 for first, _ in seeds)


def test_an_index_that_disagrees_with_its_records_stops_training(rows):
    stale = rows.assign(target=1 - rows["target"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="index and record disagree on the target of"):
        batches(stale, 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="index and record disagree on the target of"):
        list(input_pipeline.make_eval_dataset(stale, image_size=32, batch_size=8, threads=2))
    # A label that is a prediction is not the record's.
    pseudo = np.arange(len(rows)) > 0
    batches(rows.assign(target=np.where(pseudo, stale["target"], rows["target"]), pseudo=pseudo), 1)
    with pytest.raises(tf.errors.InvalidArgumentError, match="index and record disagree on the target of"):
        batches(stale.assign(pseudo=pseudo), len(rows), batch_size=1)


@pytest.mark.parametrize("foreign", ["some", "all"])
def test_an_index_of_other_images_stops_training_and_never_hangs(rows, foreign):
    names = rows["image_name"].where((np.arange(len(rows)) > 2) & (foreign == "some"), "gone_" + rows["image_name"])
    with pytest.raises(tf.errors.InvalidArgumentError, match="the shard holds another record where the index has"):
        batches(rows.assign(image_name=names), len(rows), batch_size=1)


def test_an_index_longer_than_its_shards_stops_training_and_never_hangs(rows):
    longer = rows.assign(position=rows["position"] + 1)
    with pytest.raises(errors.CorruptRecordError, match="expected positions below [0-9]+, the number of records of "):
        batches(longer, len(rows), batch_size=1)
    last = rows.groupby("shard")["position"].transform("max") == rows["position"]
    beyond = rows.assign(position=rows["position"].where(~last, 1000))
    with pytest.raises(errors.CorruptRecordError, match="expected positions below [0-9]+, .*, got 1000 in the index"):
        batches(beyond, len(rows), batch_size=1)


@pytest.mark.parametrize("batch_size", [1, 4, 7, 1000])
def test_evaluation_keeps_order_and_tail_at_any_batch_size(index, batch_size):
    dataset = input_pipeline.make_eval_dataset(index, image_size=32, batch_size=batch_size, threads=2)
    found = list(dataset.as_numpy_iterator())
    assert all(images.shape == (batch_size, 32, 32, 3) for images, _ in found)
    names = [name.decode() for _, names in found for name in names]
    assert names[: len(index)] == index["image_name"].tolist()
    assert set(names[len(index) :]) <= {""}


def test_a_label_in_a_test_record_changes_nothing(index, tmp_path):
    serialized = next(iter(decoding.read([index["shard"][0]])))
    image = decoding.parse(serialized, labeled=False)["image"].numpy()
    for name, label in (("plain", {}), ("labeled", {"target": 1})):
        with tf.io.TFRecordWriter(str(tmp_path / name)) as writer:
            writer.write(tf_example.to_example(image, "ISIC_1", **label))
    plain, labeled = (
        next(
            input_pipeline.make_eval_dataset(
                record_metadata.list_records([str(tmp_path / name)]), image_size=32, batch_size=1, threads=1
            ).as_numpy_iterator()
        )
        for name in ("plain", "labeled")
    )
    assert len(labeled) == 2
    assert np.array_equal(plain[0], labeled[0])


def same(one, other):
    return all(
        np.array_equal(left, right) for a, b in zip(one, other, strict=True) for left, right in zip(a, b, strict=True)
    )


def test_every_epoch_has_its_samples_per_group_and_the_remainder_is_sampled_anew(uneven):
    rows, samples = uneven
    total, groups = sum(samples), rows.set_index("image_name")["group"]
    found = names_of(rows, batches(rows, 3 * total, samples, batch_size=1))
    often = []
    for start in range(0, 3 * total, total):
        counts = collections.Counter(found[start : start + total])
        for group, count in enumerate(samples):
            members = groups.index[groups == group]
            sampled = [counts[name] for name in members]
            assert sum(sampled) == count
            assert max(sampled) - min(sampled) == 1
        often.append(frozenset(name for name in groups.index if counts[name] == counts.most_common(1)[0][1]))
    assert len(set(often)) == 3


def test_fewer_samples_than_records_leave_records_out_of_an_epoch(uneven):
    rows, _ = uneven
    samples = np.array([3, 2])
    found = names_of(rows, batches(rows, 10, samples, batch_size=1))
    for epoch in (found[:5], found[5:]):
        assert len(set(epoch)) == 5
        assert rows.set_index("image_name").loc[epoch, "group"].value_counts().to_dict() == {0: 3, 1: 2}
    assert set(found[:5]) != set(found[5:])


def test_repeats_of_a_record_in_an_epoch_are_augmented_differently(uneven):
    rows, samples = uneven
    seeds = np.concatenate([seeds for _, _, seeds in batches(rows, sum(samples), samples, batch_size=1)])
    assert len({tuple(seed) for seed in seeds}) == sum(samples)
    assert len(set(seeds[:, 1])) == len(rows)


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_a_cache_changes_nothing(table, uneven, where, tmp_path):
    rows, samples = uneven
    images = image_cache.open_images(table, where if where == "memory" else str(tmp_path), 32, 2)
    count = 2 * sum(samples) // 4
    assert same(batches(rows, count, samples), batches(rows, count, samples, images=images))
    held_out = table[table["fold"] == 0]
    decoded, cached = (
        list(
            input_pipeline.make_eval_dataset(
                held_out, image_size=32, batch_size=7, threads=2, images=source
            ).as_numpy_iterator()
        )
        for source in (None, images)
    )
    assert same(decoded, cached)


@pytest.mark.parametrize("step", [1, 7, 23])
def test_an_uneven_epoch_resumed_at_a_step_gives_the_rest(uneven, step):
    rows, samples = uneven
    whole = batches(rows, 40, samples)
    assert same(whole[step:], batches(rows, 40 - step, samples, start=4 * step))


def test_threads_change_nothing(uneven):
    rows, samples = uneven
    assert same(batches(rows, 20, samples, threads=1), batches(rows, 20, samples, threads=4))


def test_two_workers_see_each_record_exactly_once_an_epoch(rows):
    length = len(rows) // 2 * 2
    shares = [keys(batches(rows, length // 2, batch_size=1, num_workers=2, worker=worker)) for worker in (0, 1)]
    assert len(set(shares[0]) | set(shares[1])) == length
    assert sorted(shares[0] + shares[1]) == sorted(keys(batches(rows, length, batch_size=1)))


def first_batches(folder, start):
    """Returns the bytes of some batches; runs in a process of its own."""
    rows, _, _ = fold_split.split_rows(mixture.read_sets(folder), 0)
    return [[part.tobytes() for part in batch] for batch in batches(rows, 6, start=start)]


def test_another_process_gives_the_same_batches(record_set, rows):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        found = pool.apply(first_batches, (str(record_set), 8))
    assert found == [[part.tobytes() for part in batch] for batch in batches(rows, 8)[2:]]


def test_the_shuffle_mixes_shards_and_all_of_a_buffer(rows):
    plain = names_of(rows, batches(rows, len(rows), batch_size=1, shuffle_buffer=1))
    mixed = names_of(rows, batches(rows, len(rows), batch_size=1, shuffle_buffer=1000))
    assert sorted(plain) == sorted(mixed)
    # With a buffer of one the stream is the shards in turn; a whole shuffle leaves few neighbours together.
    follows = dict(itertools.pairwise(plain))
    assert sum(follows.get(one) == other for one, other in itertools.pairwise(mixed)) < len(rows) / 4


def test_the_datasets_own_threads_are_as_many_as_asked(rows):
    dataset = make_dataset(rows, threads=3)
    options = dataset.options()
    assert options.threading.private_threadpool_size == 3
    assert options.autotune.enabled is False
    assert options.deterministic is True
    assert options.experimental_distribute.auto_shard_policy == tf.data.experimental.AutoShardPolicy.OFF


def test_paths_of_other_file_systems_go_through_gfile(rows):
    remote = rows.assign(shard=["file://" + shard for shard in rows["shard"]])
    assert same(batches(rows, 4), batches(remote, 4))


LAYOUTS = {
    "kaggle": ("image_name", "image", "target"),
    "deotte": (
        "image_name",
        "image",
        "target",
        "patient_id",
        "sex",
        "age_approx",
        "anatom_site_general_challenge",
        "diagnosis",
    ),
    "deotte_2019": ("image_name", "image", "target", "patient_id", "sex", "age_approx", "width", "height"),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_three_public_layouts_are_read(layout, rows, tmp_path):
    parsed = [decoding.parse(data, labeled=True) for data in decoding.read(list(rows["shard"].unique()))]
    parsed = [record for record in parsed if record["image_name"].numpy().decode() in set(rows["image_name"])]
    path = str(tmp_path / f"train00-{len(parsed)}.tfrec")
    with tf.io.TFRecordWriter(path) as writer:
        for record in parsed:
            features = {
                name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[record[name].numpy()]))
                if record[name].dtype == tf.string
                else tf.train.Feature(int64_list=tf.train.Int64List(value=[int(record[name])]))
                for name in LAYOUTS[layout]
            }
            writer.write(tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString())
    table = rows.set_index("image_name").loc[[record["image_name"].numpy().decode() for record in parsed]].reset_index()
    moved = table.assign(shard=path, position=range(len(table)))
    expected, found = (batches(part, len(rows), batch_size=1) for part in (rows, moved))
    by_name = dict(zip(names_of(rows, expected), expected, strict=True))
    assert same([by_name[name] for name in names_of(moved, found)], found)


def test_in_file_order_sorts_positions_within_shards_as_they_first_come():
    rows = pd.DataFrame({"shard": list("baba"), "position": [3, 1, 2, 0], "image_name": list("wxyz")})
    assert input_pipeline.in_file_order(rows)["image_name"].tolist() == ["y", "w", "z", "x"]
