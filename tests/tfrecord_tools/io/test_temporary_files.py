import os
import pathlib
import stat
import subprocess
import sys
import time

import pytest

from tfrecord_tools import errors
from tfrecord_tools.io import temporary_files

DAY = 24 * 3600


@pytest.fixture(scope="module")
def dead():
    """Number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-S", "-c", ""])
    process.wait()
    return process.pid


def place(directory, name, age=0.0):
    path = directory / name
    path.write_text("patients")
    os.utime(path, (time.time() - age,) * 2)
    return path


def test_a_name_tells_the_process_the_machine_and_the_file():
    assert temporary_files.make_name("oof.csv") == f".tmp-{os.getpid()}-{temporary_files.machine()}-oof.csv"
    assert len(temporary_files.machine()) == 8


def test_a_process_runs_until_it_ends_and_its_number_may_be_given_away(dead):
    assert temporary_files.is_running(os.getpid(), time.time())
    assert not temporary_files.is_running(dead, time.time())
    # A process of this number that ran a day ago is another one.
    assert not temporary_files.is_running(os.getpid(), time.time() - DAY)


def test_a_process_that_was_killed_but_not_waited_for_does_not_run():
    process = subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(60)"])
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not temporary_files.is_running(process.pid, time.time())
    process.wait()


def test_leftovers_of_ended_processes_are_removed_and_nothing_else(tmp_path, dead, capsys):
    here = temporary_files.machine()
    place(tmp_path, f".tmp-{dead}-{here}-oof.csv")
    (tmp_path / f".tmp-{dead}-{here}-exported" / "assets").mkdir(parents=True)
    place(tmp_path / f".tmp-{dead}-{here}-exported" / "assets", "model.pb")
    place(tmp_path, ".tmp-7-0badcafe-elsewhere.csv", age=2 * DAY)
    place(tmp_path, ".tmp-7-release.csv", age=2 * DAY)
    # Of this process, of another machine that may be at work, and files of other names.
    kept = [f".tmp-{os.getpid()}-{here}-oof.csv", ".tmp-7-0badcafe-new.csv", ".tmp-7-new.csv"]
    kept += ["oof.csv", ".tmp-notes.txt", f"tmp-{dead}-{here}-oof.csv"]
    for name in kept:
        place(tmp_path, name)
    assert len(temporary_files.remove_leftovers(str(tmp_path))) == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(kept)
    assert capsys.readouterr().out == (f"removed 4 temporary files of processes that were stopped from {tmp_path}\n")


def test_a_directory_gets_a_name_without_wildcards_while_it_is_needed(tmp_path):
    plain, starred = tmp_path / "b0, Größe", tmp_path / "b0 [2]*"
    with temporary_files.without_wildcards(str(plain)) as path:
        assert path == str(plain)
    with temporary_files.without_wildcards(str(starred)) as path:
        assert not set("[]*?") & set(path)
        pathlib.Path(path, "a").write_text("kept")
    assert not os.path.lexists(path)
    assert (starred / "a").read_text() == "kept"


def test_a_link_is_removed_and_what_it_leads_to_stays(tmp_path, dead):
    (tmp_path / "images").mkdir()
    place(tmp_path / "images", "a.jpg")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / f".tmp-{dead}-{temporary_files.machine()}-a").symlink_to(tmp_path / "images")
    assert len(temporary_files.remove_leftovers(str(tmp_path / "out"))) == 1
    assert (tmp_path / "images" / "a.jpg").exists()


def test_a_directory_that_does_not_exist_has_no_leftovers(tmp_path):
    assert temporary_files.remove_leftovers(str(tmp_path / "none")) == []


def test_a_temporary_directory_is_private_and_leaves_nothing(tmp_path):
    parent = tmp_path / "runs" / "new"
    with temporary_files.temporary_directory("records", str(parent)) as path:
        assert pathlib.Path(path).parent == parent
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o700
        place(pathlib.Path(path), "train00.tfrec")
        with temporary_files.temporary_directory("records", str(parent)) as other:
            assert other != path
    assert list(tmp_path.iterdir()) == []


def test_a_temporary_directory_removes_that_of_a_killed_process(tmp_path, dead):
    old = tmp_path / f".tmp-{dead}-{temporary_files.machine()}-records-00"
    old.mkdir()
    with temporary_files.temporary_directory("records", str(tmp_path)):
        assert not old.exists()


def test_a_temporary_directory_stays_recent_while_it_is_used(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary_files, "_SECONDS_TO_RENEW", 0.01)
    with temporary_files.temporary_directory("records", str(tmp_path)) as path:
        os.utime(path, (0, 0))
        while os.stat(path).st_mtime == 0:
            time.sleep(0.01)


def test_a_failing_action_is_repeated_until_the_block_ends():
    calls = []

    def fail():
        calls.append(1)
        raise OSError

    with temporary_files.repeated(fail, 0.001):
        while len(calls) < 2:
            time.sleep(0.001)
    count = len(calls)
    time.sleep(0.01)
    assert len(calls) == count


def test_a_temporary_directory_needs_a_directory(tmp_path):
    place(tmp_path, "file")
    opening = temporary_files.temporary_directory("records", str(tmp_path / "file" / "in"))
    with pytest.raises(errors.IsicError, match="expected to be able to write .*file.*; choose another path"), opening:
        pass
