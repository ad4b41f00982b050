import os
import pathlib

import pytest

from tfrecord_tools.io import atomic_write


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


def test_a_temporary_file_is_hidden_and_named_by_process(tmp_path):
    with atomic_write.replaced(str(tmp_path / "t.csv")) as temporary:
        assert temporary == str(tmp_path / f".tmp-{os.getpid()}-t.csv")
        pathlib.Path(temporary).touch()
