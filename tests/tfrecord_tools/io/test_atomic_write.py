import errno
import os
import pathlib

import pytest

from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, temporary_files


def test_write_text_creates_directories_and_keeps_line_ends(tmp_path):
    path = tmp_path / "a" / "b" / "t.csv"
    atomic_write.write_text(str(path), "\u00e9\r\nx\n")
    # UTF-8 of e with an acute accent is c3 a9.
    assert path.read_bytes() == b"\xc3\xa9\r\nx\n"


def test_a_failed_write_keeps_the_old_file_and_removes_the_temporary_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_write.replaced(str(path)) as temporary:
        assert pathlib.Path(temporary).parent == tmp_path
        pathlib.Path(temporary).write_text("half")
        raise KeyboardInterrupt
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text() == "old"


def test_a_block_that_writes_nothing_fails_and_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write.replaced(str(tmp_path / "t.csv")):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_file_is_hidden_and_named_by_process_and_machine(tmp_path):
    with atomic_write.replaced(str(tmp_path / "t.csv")) as temporary:
        assert temporary == str(tmp_path / f".tmp-{os.getpid()}-{temporary_files.machine()}-t.csv")
        pathlib.Path(temporary).touch()


def test_a_write_removes_what_a_killed_process_left_beside_the_file(tmp_path):
    old = tmp_path / ".tmp-7-release.csv"
    old.touch()
    os.utime(old, (1, 1))
    atomic_write.write_text(str(tmp_path / "t.csv"), "")
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "expected room for .*t.csv, but the disk is full; free disk space, then run the same command"),
        (errno.EDQUOT, "expected room for .*t.csv, but the disk is full; free disk space, then run the same command"),
        (errno.EROFS, "expected to be able to write .*t.csv, got: Read-only file system; choose a place where this"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_with_the_remedy(tmp_path, number, message):
    path = tmp_path / "t.csv"
    path.write_text("old")
    with pytest.raises(errors.IsicError, match=message), atomic_write.replaced(str(path)) as temporary:
        pathlib.Path(temporary).write_text("half")
        raise OSError(number, os.strerror(number))
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]
    assert path.read_text() == "old"


def test_an_error_about_a_file_that_is_read_stays_as_it_is(tmp_path):
    error = PermissionError(errno.EACCES, "Permission denied", "images/a.jpg")
    with pytest.raises(PermissionError, match=r"images/a\.jpg"), atomic_write.replaced(str(tmp_path / "t.csv")):
        raise error
    assert list(tmp_path.iterdir()) == []


def test_a_path_below_a_file_or_with_a_long_name_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for path, reason in (
        (tmp_path / "file" / "t.csv", "(File exists|Not a directory)"),
        (tmp_path / ("t" * 300), "File name"),
    ):
        with pytest.raises(
            errors.IsicError, match=f"expected to be able to write {path}, got: {reason}.*; choose another"
        ):
            atomic_write.write_text(str(path), "")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]


def test_directories_and_special_files_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path, kind in (
        (tmp_path, "got the directory"),
        (tmp_path / "pipe", "which is a device, a named pipe or a socket"),
    ):
        with pytest.raises(errors.ConfigError, match=f"expected the path of a file to write, .*{kind}"):
            atomic_write.write_text(str(path), "")
    assert [file.name for file in tmp_path.iterdir()] == ["pipe"]


def test_a_file_with_other_content_is_refused_and_the_same_content_is_not(tmp_path):
    path = tmp_path / "t.csv"
    atomic_write.refuse_other_content(str(path), "a\n")
    path.write_bytes(b"a\n")
    atomic_write.refuse_other_content(str(path), "a\n")
    with pytest.raises(errors.ConfigError, match="t.csv, or .*, got a file with other content"):
        atomic_write.refuse_other_content(str(path), "a\r\n")
