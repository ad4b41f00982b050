import os
import subprocess
import sys

import pytest
import tensorflow as tf
from harness import ENVIRONMENT

from tfrecord_tools.io import filesystem


@pytest.fixture(params=["local", "bucket"])
def folder(request, tmp_path):
    """Returns a directory by its path, or by a URL that TensorFlow's file systems handle."""
    return str(tmp_path) if request.param == "local" else f"file://{tmp_path}"


def test_local_paths_and_urls_behave_the_same(folder):
    filesystem.makedirs(f"{folder}/a/b")
    filesystem.makedirs(f"{folder}/a/b")
    for name, text in (("2.txt", "zwei\n"), ("1.txt", "eins\r\n")):
        with filesystem.open(f"{folder}/a/{name}", "w") as file:
            file.write(text)
    assert filesystem.listdir(f"{folder}/a") == ["1.txt", "2.txt", "b"]
    assert filesystem.glob(f"{folder}/a/*.txt") == [f"{folder}/a/1.txt", f"{folder}/a/2.txt"]
    assert filesystem.read(f"{folder}/a/1.txt") == b"eins\r\n"
    assert filesystem.size(f"{folder}/a/1.txt") == 6
    filesystem.copy(f"{folder}/a/1.txt", f"{folder}/a/3.txt")
    assert filesystem.read(f"{folder}/a/3.txt") == b"eins\r\n"
    filesystem.remove(f"{folder}/a/3.txt")
    filesystem.replace(f"{folder}/a/1.txt", f"{folder}/a/2.txt")
    assert filesystem.read(f"{folder}/a/2.txt") == b"eins\r\n"
    assert filesystem.exists(f"{folder}/a/2.txt")
    assert not filesystem.exists(f"{folder}/a/1.txt")
    assert filesystem.isdir(f"{folder}/a/b")
    assert not filesystem.isdir(f"{folder}/a/2.txt")
    with filesystem.open(f"{folder}/a/2.txt") as file:
        file.seek(2)
        assert file.read(2) == b"ns"
    filesystem.remove(f"{folder}/a/2.txt", missing_ok=True)
    filesystem.remove(f"{folder}/a/2.txt", missing_ok=True)
    with pytest.raises((FileNotFoundError, tf.errors.NotFoundError)):
        filesystem.remove(f"{folder}/a/2.txt")
    filesystem.rmtree(f"{folder}/a")
    filesystem.rmtree(f"{folder}/a")
    assert filesystem.listdir(f"{folder}/a") == []


def test_a_rewritten_file_has_a_new_stamp(folder):
    stamps = set()
    for nanoseconds in (1_000_000_000, 2_000_000_000):
        with filesystem.open(f"{folder}/1.txt", "w") as file:
            file.write("eins")
        os.utime(f"{folder}/1.txt".removeprefix("file://"), ns=(0, nanoseconds))
        stamps.add(filesystem.stamp(f"{folder}/1.txt"))
    assert stamps == {(4, 1_000_000_000), (4, 2_000_000_000)}


def test_a_missing_file_is_a_failure_of_either_kind(folder):
    with pytest.raises((OSError, tf.errors.NotFoundError)) as caught:
        filesystem.read(f"{folder}/none")
    assert filesystem.is_failure(caught.value)
    assert not filesystem.is_failure(ValueError())


def test_only_regular_files_can_be_read_to_their_end(folder, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert filesystem.is_regular(f"{folder}/file")
    assert filesystem.is_regular(f"{folder}/link")
    assert not filesystem.is_regular(f"{folder}/none")
    assert not filesystem.is_regular(folder)


def test_named_pipes_devices_and_broken_links_are_not_regular(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "broken").symlink_to(tmp_path / "none")
    for path in (tmp_path / "pipe", tmp_path / "broken", os.devnull):
        assert not filesystem.is_regular(str(path))


def test_directories_that_were_missing_are_removed_while_they_are_empty(tmp_path):
    missing = filesystem.make_missing(str(tmp_path / "a" / "b"))
    assert missing == [str(tmp_path / "a" / "b"), str(tmp_path / "a")]
    assert filesystem.make_missing(str(tmp_path / "a" / "b")) == []
    (tmp_path / "a" / "file").touch()
    filesystem.remove_empty(missing)
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["file"]
    assert filesystem.make_missing("") == []


def test_an_error_of_a_bucket_names_the_output():
    error = tf.errors.PermissionDeniedError(None, None, "no access")
    explained = filesystem.explain_write_error("gs://a/oof.csv", error)
    assert str(explained) == (
        "expected to be able to write gs://a/oof.csv, got: no access; check the path, the network and the permissions"
    )
    assert filesystem.explain_write_error("a", ValueError()) is None
    with pytest.raises(ZeroDivisionError), filesystem.explained_write_errors("a"):
        raise ZeroDivisionError


def test_building_records_does_not_load_tensorflow():
    program = (
        "import sys; from tfrecord_tools.building import record_set_builder, record_set_indexer; "
        "from tfrecord_tools.splits import fold_table; from tfrecord_tools.synthetic import dataset; "
        "from tfrecord_tools.verification import record_set_verifier; print('tensorflow' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert result.stdout == "False\n"


@pytest.mark.parametrize("name", ["set[1]", "a, b", "50 %?", "Köln*", "[x],[y]"])
def test_a_directory_that_exists_is_meant_as_it_is_in_a_pattern_and_in_a_list(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    os.makedirs(name)
    os.makedirs("other")
    for path in (f"{name}/t1.tfrec", f"{name}/t2.tfrec", "other/t3.tfrec"):
        open(path, "w").close()
    shards = [f"{name}/t1.tfrec", f"{name}/t2.tfrec"]
    assert filesystem.glob(f"{name}/t*.tfrec") == shards
    assert filesystem.glob(shards[0]) == shards[:1]
    assert filesystem.split_list(f"{name}, other") == [name, "other"]
    assert filesystem.split_list(f"other,{name}/*.tfrec,{tmp_path}/{name}") == [
        "other", f"{name}/*.tfrec", f"{tmp_path}/{name}"
    ]  # fmt: skip


def test_brackets_and_stars_are_patterns_where_no_such_name_exists(tmp_path):
    for name in ("set1", "set2", "set12"):
        (tmp_path / name).mkdir()
    assert filesystem.glob(f"{tmp_path}/set[12]") == [f"{tmp_path}/set1", f"{tmp_path}/set2"]
    (tmp_path / "set[12]").mkdir()
    assert filesystem.glob(f"{tmp_path}/set[12]") == [f"{tmp_path}/set[12]"]
    assert filesystem.glob(f"{tmp_path}/no*") == []


@pytest.mark.parametrize(
    ("text", "known", "names"),
    [
        ("a,b,c", set(), ["a", "b", "c"]),
        (" a , ,b", set(), ["a", "b"]),
        ("", set(), []),
        ("a,b,c", {"b,c"}, ["a", "b,c"]),
        # The longest name counts.
        ("a,b,c", {"a,b", "a,b,c"}, ["a,b,c"]),
        ("x, a, b", {"a, b"}, ["x", "a, b"]),
    ],
)
def test_a_list_is_split_at_commas_but_not_within_a_known_name(text, known, names):
    assert filesystem.rejoin(text.split(","), known.__contains__) == names


def test_the_sha256_of_a_file_is_the_published_one_and_a_file_may_be_larger_than_a_block(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"abc")
    published = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert filesystem.compute_sha256(str(tmp_path / "a")) == published
    monkeypatch.setattr(filesystem, "_BLOCK_BYTES", 2)
    assert filesystem.compute_sha256(str(tmp_path / "a")) == published
    both = {"sha256": published, "md5": "900150983cd24fb0d6963f7d28e17f72"}
    assert filesystem.compute_digests(str(tmp_path / "a"), ["sha256", "md5"]) == both
