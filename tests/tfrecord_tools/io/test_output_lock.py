import os
import signal
import subprocess
import sys
import threading
import time
import types

import pytest
from harness import ENVIRONMENT

from tfrecord_tools import errors
from tfrecord_tools.io import output_lock, temporary_files

_WRITER = """
import sys, time
from tfrecord_tools.io import atomic_write, output_lock
with output_lock.locked(sys.argv[1]), atomic_write.replaced(sys.argv[1]) as temporary:
    open(temporary, "w").write("half")
    print("writing", flush=True)
    time.sleep(60)
"""


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_second_writer_is_refused_at_once_with_process_host_and_time(tmp_path):
    target = str(tmp_path / "scores.csv")
    pattern = (
        rf"expected {target} to be free, but process {os.getpid()} on \S+ \(since \d{{4}}-\d\d-\d\dT.*\) is writing "
        "it; wait until it ends, or choose another output$"
    )
    with output_lock.locked(target, None):
        assert names(tmp_path) == [".lock-scores.csv"]
        for attempt in (output_lock.locked(target).__enter__, lambda: output_lock.refuse_writer(target)):
            with pytest.raises(errors.ConfigError, match=pattern):
                attempt()
        with output_lock.locked(str(tmp_path / "other.csv")):
            pass
    with output_lock.locked(target):
        pass
    output_lock.refuse_writer(target)
    assert names(tmp_path) == []


def test_of_several_outputs_none_stays_locked_where_one_is_refused(tmp_path):
    with output_lock.locked(f"{tmp_path}/b"):
        with (
            pytest.raises(errors.ConfigError, match="/b to be free"),
            output_lock.locked(f"{tmp_path}/a", f"{tmp_path}/b"),
        ):
            pass
        assert names(tmp_path) == [".lock-b"]


def test_a_lock_is_released_by_an_error_and_its_empty_directories_are_removed(tmp_path):
    with pytest.raises(KeyboardInterrupt), output_lock.locked(f"{tmp_path}/a/b/out/"):
        assert names(tmp_path / "a" / "b") == [".lock-out"]
        raise KeyboardInterrupt
    assert names(tmp_path) == []
    with output_lock.locked(f"{tmp_path}/a/b/out.csv"):
        (tmp_path / "a" / "written").touch()
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["written"]


def test_names_of_the_current_directory_need_no_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with output_lock.locked("scores.csv"):
        assert names(tmp_path) == [".lock-scores.csv"]
        assert output_lock.find_locked("", ".*csv") == ["scores.csv"]


def test_what_is_being_written_in_a_directory_is_listed_and_abandoned_locks_are_removed(tmp_path):
    for name in (".lock-fold1", "fold2"):
        (tmp_path / name).touch()
    with output_lock.locked(f"{tmp_path}/fold0", f"{tmp_path}/flags.txt"):
        assert output_lock.find_locked(str(tmp_path), r"fold\d+") == ["fold0"]
        assert output_lock.find_writer(f"{tmp_path}/fold0").process == os.getpid()
        assert output_lock.find_writer(f"{tmp_path}/fold2") is None
    assert names(tmp_path) == ["fold2"]
    assert output_lock.find_locked(str(tmp_path / "none"), ".*") == []


def test_a_waiting_writer_says_for_whom_and_begins_when_the_other_ends(tmp_path, monkeypatch, capsys):
    waiting = threading.Event()
    target, order = str(tmp_path / "cache.npy"), []

    def pause(seconds):
        waiting.set()
        threading.Event().wait(0.01)

    def write():
        with output_lock.locked(target, wait=True):
            order.append("second")

    monkeypatch.setattr(output_lock, "time", types.SimpleNamespace(sleep=pause, time=time.time))
    thread = threading.Thread(target=write)
    with output_lock.locked(target):
        thread.start()
        assert waiting.wait(60)
        order.append("first")
    thread.join(60)
    assert order == ["first", "second"]
    message = capsys.readouterr().out
    assert message.startswith(f"waiting for process {os.getpid()} on ")
    assert message.endswith(f", which is writing {target}\n")


def test_a_configuration_names_what_its_function_locks(tmp_path):
    class Config:
        output = str(tmp_path / "a.csv")
        report = None

    @output_lock.locking("output", "report")
    def write(config):
        """Writes."""
        return names(tmp_path)

    assert write(Config()) == [".lock-a.csv"]
    assert write.__doc__ == "Writes."


def test_a_place_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").touch()
    pattern = "expected to be able to write .*file/scores.csv, got: .*; choose another path"
    with pytest.raises(errors.IsicError, match=pattern), output_lock.locked(f"{tmp_path}/file/scores.csv"):
        pass


def test_a_killed_writer_leaves_nothing_that_the_next_one_does_not_remove(tmp_path, capsys):
    target = str(tmp_path / "scores.csv")
    command = [sys.executable, "-c", _WRITER, target]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        with pytest.raises(errors.ConfigError, match=f"process {process.pid} on .* is writing it"):
            output_lock.refuse_writer(target)
        process.send_signal(signal.SIGKILL)
    name = f".tmp-{process.pid}-{temporary_files.machine()}-scores.csv"
    assert names(tmp_path) == [".lock-scores.csv", name]
    with output_lock.locked(target):
        assert names(tmp_path) == [".lock-scores.csv"]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"process {process.pid} on ")
    assert lines[0].endswith(f" was stopped while it wrote {target}; going on")
    assert lines[1:] == [f"removed 1 temporary files of processes that were stopped from {tmp_path}"]
    assert names(tmp_path) == []
