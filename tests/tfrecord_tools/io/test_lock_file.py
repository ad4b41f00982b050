import errno
import json
import os
import time

import pytest
from harness import wait_until

from tfrecord_tools.io import lock_file, temporary_files


@pytest.fixture(params=["flock", "file alone"])
def kind(request, monkeypatch):
    """Locks of the operating system, and those where it has none."""
    if request.param == "file alone":
        monkeypatch.setattr(lock_file, "fcntl", None)
    return request.param


def write_lock(path, machine, age=0.0, process=1):
    facts = {"process": process, "host": "gpu-7", "machine": machine, "started": "2026-01-02T03:04:05+00:00"}
    path.write_text(json.dumps(facts))
    os.utime(path, (time.time() - age,) * 2)


def test_a_lock_names_its_process_and_is_removed(kind, tmp_path):
    path = tmp_path / ".lock-a"
    lock = lock_file.Lock(str(path))
    facts = json.loads(path.read_text())
    assert (facts["process"], facts["machine"]) == (os.getpid(), temporary_files.machine())
    with pytest.raises(lock_file.HeldError) as caught:
        lock_file.Lock(str(path))
    assert caught.value.writer.process == os.getpid()
    lock.release()
    assert list(tmp_path.iterdir()) == []
    lock_file.Lock(str(path)).release()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"process": 1}', "null", "9" * 5000])
def test_a_lock_without_a_name_is_taken(kind, tmp_path, content):
    path = tmp_path / ".lock-a"
    path.write_text(content)
    lock = lock_file.Lock(str(path))
    assert lock.former is None
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_of_another_machine_is_respected_until_it_is_old(kind, tmp_path):
    path = tmp_path / ".lock-a"
    write_lock(path, "0badcafe", age=60)
    with pytest.raises(lock_file.HeldError) as caught:
        lock_file.Lock(str(path))
    assert str(caught.value.writer) == "process 1 on gpu-7 (since 2026-01-02T03:04:05+00:00)"
    assert json.loads(path.read_text())["host"] == "gpu-7"
    write_lock(path, "0badcafe", age=180)
    lock = lock_file.Lock(str(path))
    assert lock.former.host == "gpu-7"
    lock.release()


def test_a_lock_of_an_ended_process_of_this_machine_is_taken(kind, tmp_path):
    path = tmp_path / ".lock-a"
    # The highest number of a process on Linux is 2 ** 22.
    write_lock(path, temporary_files.machine(), process=2**22 + 1)
    lock_file.Lock(str(path)).release()
    # A number that was given to this process after the lock was written.
    write_lock(path, temporary_files.machine(), process=os.getpid(), age=24 * 3600)
    lock_file.Lock(str(path)).release()
    assert list(tmp_path.iterdir()) == []


def test_a_running_process_keeps_its_lock_where_only_the_file_tells(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_file, "fcntl", None)
    path = tmp_path / ".lock-a"
    write_lock(path, temporary_files.machine(), process=os.getpid())
    with pytest.raises(lock_file.HeldError):
        lock_file.Lock(str(path))


def test_a_file_system_without_locks_is_locked_by_the_file_alone(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock_file.fcntl, "flock", refuse)
    path = str(tmp_path / ".lock-a")
    lock = lock_file.Lock(path)
    with pytest.raises(lock_file.HeldError):
        lock_file.Lock(path)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_held_lock_is_renewed(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(lock_file, "_SECONDS_TO_RENEW", 0.01)
    path = tmp_path / ".lock-a"
    lock = lock_file.Lock(str(path))
    os.utime(path, (0, 0))
    with lock.renewed():
        wait_until(lambda: os.stat(path).st_mtime > 0)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_lock_in_a_bucket_is_written_anew(tmp_path, monkeypatch):
    monkeypatch.setattr(lock_file, "_SECONDS_TO_RENEW", 0.01)
    url = f"file://{tmp_path}/.lock-a"
    lock = lock_file.Lock(url)
    (tmp_path / ".lock-a").write_text("overwritten")
    with lock.renewed():
        wait_until(lambda: "overwritten" not in (tmp_path / ".lock-a").read_text())
    with pytest.raises(lock_file.HeldError):
        lock_file.Lock(url)
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "labels.csv").write_text("labels")
    (tmp_path / ".lock-a").symlink_to(tmp_path / "labels.csv")
    with pytest.raises(OSError, match="symbolic links"):
        lock_file.Lock(str(tmp_path / ".lock-a"))
    assert (tmp_path / "labels.csv").read_text() == "labels"


def test_a_lock_that_was_removed_meanwhile_is_made_anew(tmp_path, monkeypatch):
    path = tmp_path / ".lock-a"
    original, calls = lock_file.fcntl.flock, []

    def remove_first(*arguments):
        original(*arguments)
        calls.append(arguments)
        if len(calls) == 1:
            path.unlink()

    monkeypatch.setattr(lock_file.fcntl, "flock", remove_first)
    lock = lock_file.Lock(str(path))
    assert len(calls) == 2
    assert path.exists()
    lock.release()
