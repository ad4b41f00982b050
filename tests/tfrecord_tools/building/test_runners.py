import multiprocessing
import os

import pytest
from harness import make_jobs

from tfrecord_tools import errors
from tfrecord_tools.building import runners, shard_writer


def staged(folder):
    """The bytes of each finished shard."""
    made = {}
    for path in sorted((folder / ".making-train").glob("*.tfrec")):
        made[path.name[: len("train00")]] = path.read_bytes()
    return made


@pytest.fixture
def expected(rows, tmp_path):
    for job in make_jobs(rows, tmp_path / "alone"):
        shard_writer.make_shard(job)
    return staged(tmp_path / "alone")


def test_processes_make_the_same_bytes_as_one(rows, tmp_path, expected, monkeypatch):
    monkeypatch.setattr(runners, "_IMAGES_PER_PROCESS", 2)
    runners.run_local(make_jobs(rows, tmp_path / "two"), workers=2)
    assert staged(tmp_path / "two") == expected
    assert not multiprocessing.active_children()


def test_an_error_in_a_process_arrives_complete(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(runners, "_IMAGES_PER_PROCESS", 2)
    os.truncate(tmp_path / "jpeg" / "i4.jpg", 300)
    with pytest.raises(ValueError, match=r"image i4: .*i4.jpg is truncated \(300 bytes\)"):
        runners.run_local(make_jobs(rows, tmp_path / "two"), workers=2)
    assert not multiprocessing.active_children()


def _die(_):
    os._exit(9)


def test_a_process_that_dies_is_an_error(rows, tmp_path, monkeypatch):
    monkeypatch.setattr(runners, "_IMAGES_PER_PROCESS", 2)
    monkeypatch.setattr(runners, "_make", _die)
    with pytest.raises(errors.IsicError, match="a worker process died, possibly out of memory; reduce --workers"):
        runners.run_local(make_jobs(rows, tmp_path / "two"), workers=2)


def test_a_few_images_are_converted_in_this_process(rows, tmp_path, expected, monkeypatch):
    monkeypatch.setattr(runners, "_run_processes", None)
    runners.run_local(make_jobs(rows, tmp_path / "two"), workers=2)
    assert staged(tmp_path / "two") == expected
    runners.run_local([], workers=2)


def test_beam_makes_the_same_bytes(rows, tmp_path, expected):
    pytest.importorskip("apache_beam", reason="the extra [beam] is not installed")
    runners.run_beam(make_jobs(rows, tmp_path / "beam"), "")
    assert staged(tmp_path / "beam") == expected
    # The rows of a shard are gone with the build, and after one that fails.
    os.truncate(tmp_path / "jpeg" / "i4.jpg", 300)
    with pytest.raises(Exception, match="i4.jpg is truncated"):
        runners.run_beam(make_jobs(rows, tmp_path / "failing"), "")
    assert not list(tmp_path.rglob("*.job.json"))


def test_a_worker_without_its_job_says_why(tmp_path):
    with pytest.raises(errors.IsicError, match="cannot be read on this worker .*give --output a path that all workers"):
        runners._make_from_file(str(tmp_path / "train00.job.json"))


def test_beam_that_is_not_installed_is_named(rows, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "apache_beam", None)
    with pytest.raises(
        ValueError, match=r"--runner=beam needs apache-beam .*; install it with: pip install apache-beam"
    ):
        runners.run_beam(make_jobs(rows, tmp_path / "beam"), "")
