import json
import os
import shutil
import threading
import time
import types

import numpy as np
import pytest
from harness import wait_until

from isic_tf.artifacts import disk_space
from isic_tf.data import image_cache, input_pipeline, mixture
from tfrecord_tools.io import output_lock


@pytest.fixture(scope="module")
def table(record_set):
    return mixture.read_sets(str(record_set))


@pytest.fixture
def count_decodes(monkeypatch):
    calls, original = [], input_pipeline.make_eval_dataset
    monkeypatch.setattr(
        input_pipeline, "make_eval_dataset", lambda *given, **named: calls.append(1) or original(*given, **named)
    )
    return calls


def test_images_are_those_of_their_numbers_in_any_order(table):
    images = image_cache.open_images(table, "memory", 32, 2)
    dataset = input_pipeline.make_eval_dataset(table, image_size=32, batch_size=len(table), threads=2)
    expected = next(dataset.as_numpy_iterator())[0]
    numbers = np.random.default_rng(0).permutation(len(table))[:10]
    assert np.array_equal(images(numbers), expected[numbers])
    assert images(numbers).dtype == np.uint8


def test_several_sets_are_cached_each_by_itself(table, record_set, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(record_set, copy)
    rows = mixture.read_sets(str(record_set), str(copy)).iloc[::-1]
    images = image_cache.open_images(rows, str(tmp_path / "cache"), 32, 2)
    numbers = np.array([0, len(table), 5, len(table) + 5])
    found = images(numbers)
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[2], found[3])
    assert not np.array_equal(found[0], found[2])
    # The same records, so one file.
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_of_two_trainings_at_the_same_time_one_decodes_for_both(table, tmp_path, count_decodes, monkeypatch):
    opened, waiting = [], set()

    def open_cache():
        opened.append(image_cache.open_images(table, str(tmp_path), 32, 2))

    def pause(seconds):
        waiting.add(threading.get_ident())
        threading.Event().wait(0.01)

    monkeypatch.setattr(output_lock, "time", types.SimpleNamespace(sleep=pause, time=time.time))
    path = image_cache.plan_images(table, str(tmp_path), 32)[1][0]
    with output_lock.locked(path):
        threads = [threading.Thread(target=open_cache) for _ in range(2)]
        for thread in threads:
            thread.start()
        wait_until(lambda: len(waiting) == 2)
        assert not count_decodes
    for thread in threads:
        thread.join(60)
    assert len(count_decodes) == 1
    assert np.array_equal(opened[0](np.arange(9)), opened[1](np.arange(9)))
    assert [str(file) for file in tmp_path.iterdir()] == [path]


def test_what_killed_trainings_left_is_removed_though_nothing_is_decoded(table, tmp_path, count_decodes):
    image_cache.open_images(table, str(tmp_path), 32, 2)
    left = tmp_path / ".tmp-7-0123-32.npy"
    left.touch()
    os.utime(left, (1, 1))
    image_cache.open_images(table, str(tmp_path), 32, 2)
    assert len(count_decodes) == 1
    assert not left.exists()


def test_a_folder_is_taken_up_by_a_later_run_and_another_size_is_not(table, tmp_path, count_decodes, capsys):
    first = image_cache.open_images(table, str(tmp_path), 32, 2)
    again = image_cache.open_images(table, str(tmp_path), 32, 2)
    assert len(count_decodes) == 1
    assert np.array_equal(first(np.arange(9)), again(np.arange(9)))
    lines = capsys.readouterr().out.splitlines()
    size = len(table) * 32 * 32 * 3
    assert lines[0].startswith(f"cache: {len(table)} images at 32 px, {size / 1e9:.2f} GB in {tmp_path}, ")
    assert ", made by an earlier run, " in lines[1]
    image_cache.open_images(table, str(tmp_path), 48, 2)
    assert len(count_decodes) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_records_that_changed_are_decoded_anew(table, record_set, tmp_path, count_decodes):
    copy = tmp_path / "copy"
    shutil.copytree(record_set, copy)
    where = str(tmp_path / "cache")
    image_cache.open_images(mixture.read_sets(str(copy)), where, 32, 2)
    # The same bytes elsewhere are the same records; another checksum in the manifest, or fewer records, are not.
    image_cache.open_images(table, where, 32, 2)
    assert len(count_decodes) == 1
    manifest = json.loads((copy / "train.manifest.json").read_text())
    manifest["shards"][0]["sha256"] = "0"
    (copy / "train.manifest.json").write_text(json.dumps(manifest))
    image_cache.open_images(mixture.read_sets(str(copy)), where, 32, 2)
    image_cache.open_images(table.iloc[1:], where, 32, 2)
    assert len(count_decodes) == 3


def test_a_decode_that_is_cut_off_leaves_no_file(table, tmp_path, monkeypatch):
    original = image_cache._decode

    def interrupted(*arguments):
        yield next(original(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(image_cache, "_decode", interrupted)
    with pytest.raises(KeyboardInterrupt):
        image_cache.open_images(table, str(tmp_path), 32, 2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("where", ["memory", "folder"])
def test_a_cache_that_would_not_fit_is_refused_before_any_work(table, where, tmp_path, monkeypatch, count_decodes):
    size = len(table) * 32 * 32 * 3
    # As if just a little less were free than it takes: four fifths may be used.
    monkeypatch.setattr(image_cache, "free_memory", lambda: size / 0.8 - 10)
    monkeypatch.setattr(disk_space, "count_free_bytes", lambda folder: size / 0.8 - 10)
    with pytest.raises(
        ValueError, match=r"the cache needs 0.00 GB, more than 80% of the .* GB that are free; give --cache"
    ):
        image_cache.open_images(table, where if where == "memory" else str(tmp_path), 32, 2)
    assert not count_decodes
    monkeypatch.setattr(image_cache, "free_memory", lambda: size / 0.8 + 10)
    image_cache.open_images(table, "memory", 32, 2)


def test_free_memory_is_below_the_machines_and_above_nothing():
    assert 0 < image_cache.free_memory() <= image_cache.psutil.virtual_memory().total


def test_a_folder_that_is_not_local_is_refused(table):
    with pytest.raises(ValueError, match="expected memory or a local directory for --cache, got 'gs://bucket'"):
        image_cache.open_images(table, "gs://bucket", 32, 2)


@pytest.mark.parametrize("damage", ["truncated", "empty", "other shape", "pickle"])
def test_a_damaged_file_is_refused_by_name(table, tmp_path, damage):
    image_cache.open_images(table, str(tmp_path), 32, 2)
    path = next(tmp_path.iterdir())
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "other shape":
        np.save(path, np.zeros((2, 32, 32, 3), np.uint8))
    else:
        np.save(path, np.array([{}], object), allow_pickle=True)
    with pytest.raises(
        ValueError, match=f"{path.name} (is not a complete file of decoded images .*|holds uint8 of .*); remove it"
    ):
        image_cache.open_images(table, str(tmp_path), 32, 2)
