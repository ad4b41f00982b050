import os
import subprocess
import sys

import pytest
import tensorflow as tf
from conftest import ENVIRONMENT

from tfrecord_tools import storage


@pytest.fixture(params=["local", "bucket"])
def folder(request, tmp_path):
    """A folder by its path, and by a URL that TensorFlow's file systems answer."""
    return str(tmp_path) if request.param == "local" else f"file://{tmp_path}"


def test_both_kinds_of_paths_do_the_same(folder):
    storage.makedirs(f"{folder}/a/b")
    storage.makedirs(f"{folder}/a/b")
    for name, text in (("2.txt", "zwei\n"), ("1.txt", "eins\r\n")):
        with storage.open(f"{folder}/a/{name}", "w") as file:
            file.write(text)
    assert storage.listdir(f"{folder}/a") == ["1.txt", "2.txt", "b"]
    assert storage.glob(f"{folder}/a/*.txt") == [f"{folder}/a/1.txt", f"{folder}/a/2.txt"]
    assert storage.read(f"{folder}/a/1.txt") == b"eins\r\n"
    assert storage.size(f"{folder}/a/1.txt") == 6
    storage.replace(f"{folder}/a/1.txt", f"{folder}/a/2.txt")
    assert storage.read(f"{folder}/a/2.txt") == b"eins\r\n"
    assert storage.exists(f"{folder}/a/2.txt")
    assert not storage.exists(f"{folder}/a/1.txt")
    assert storage.isdir(f"{folder}/a/b")
    assert not storage.isdir(f"{folder}/a/2.txt")
    with storage.open(f"{folder}/a/2.txt") as file:
        file.seek(2)
        assert file.read(2) == b"ns"
    storage.remove(f"{folder}/a/2.txt")
    storage.rmtree(f"{folder}/a")
    storage.rmtree(f"{folder}/a")
    assert storage.listdir(f"{folder}/a") == []


def test_a_file_written_anew_has_another_stamp(folder):
    stamps = set()
    for nanoseconds in (1_000_000_000, 2_000_000_000):
        with storage.open(f"{folder}/1.txt", "w") as file:
            file.write("eins")
        os.utime(f"{folder}/1.txt".removeprefix("file://"), ns=(0, nanoseconds))
        stamps.add(storage.stamp(f"{folder}/1.txt"))
    assert stamps == {(4, 1_000_000_000), (4, 2_000_000_000)}


def test_a_missing_file_is_a_failure_of_either_kind(folder):
    with pytest.raises((OSError, tf.errors.NotFoundError)) as caught:
        storage.read(f"{folder}/none")
    assert storage.is_failure(caught.value)
    assert not storage.is_failure(ValueError())


def test_making_records_does_not_load_tensorflow():
    program = (
        "import sys; from tfrecord_tools import build, index, verify, synth, folds; print('tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"
