import hashlib
import json

import pytest
from harness import CONVERT, make_jobs

import tfrecord_tools
from tfrecord_tools.building import shard_jobs
from tfrecord_tools.imaging import limits


def test_each_shard_has_a_job_with_its_rows_in_order(rows, tmp_path):
    jobs = make_jobs(rows, tmp_path)
    assert [job.shard for job in jobs] == [0, 1]
    assert [[row["image_name"] for row in job.rows] for job in jobs] == [["i0", "i1", "i2"], ["i3", "i4"]]
    assert set(jobs[0].rows[0]) == {"image_name", "path", "offset", "length", "integers"}
    assert jobs[1].staged == str(tmp_path / ".making-train" / "train01")
    assert jobs[1].entry_path == str(tmp_path / ".making-train" / "train01.json")
    assert {(job.split, job.options, job.on_error) for job in jobs} == {("train", CONVERT, "stop")}


def test_the_fingerprint_of_a_job_worked_by_hand(rows, tmp_path):
    # A path that does not exist on this machine, such as one in a bucket, counts by its name alone.
    job = make_jobs(rows.iloc[:1].assign(path="gs://data/i0.jpg"), tmp_path)[0]
    row = {"image_name": "i0", "integers": {"target": 0}, "length": 0, "offset": 0, "path": "gs://data/i0.jpg"}
    options = {"color_constancy": "none", "image_size": 32, "quality": 90, "resize": "stretch", "trim_border": False}
    described = {"on_error": "stop", "options": options, "rows": [row], "shard": 0, "split": "train"}
    text = json.dumps([tfrecord_tools.__version__, described, []])
    assert job.fingerprint == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize("change", [{"quality": 91}, {"trim_border": True}, {"on_error": "skip"}], ids=str)
def test_the_fingerprint_changes_with_the_options_only(rows, tmp_path, change):
    first, again, other = (make_jobs(rows, tmp_path, **options)[0] for options in ({}, {}, change))
    assert first == again
    assert other.fingerprint != first.fingerprint


def test_the_fingerprint_changes_with_the_container_of_an_image(rows, tmp_path):
    (tmp_path / "a.zip").write_bytes(b"first")
    inside = rows.assign(path=[f"{tmp_path}/a.zip::{name}.jpg" for name in rows["image_name"]])
    before = make_jobs(inside, tmp_path)[0].fingerprint
    assert make_jobs(inside, tmp_path)[0].fingerprint == before
    (tmp_path / "a.zip").write_bytes(b"other content")
    assert make_jobs(inside, tmp_path)[0].fingerprint != before


def test_the_fingerprint_does_not_depend_on_the_output(rows, tmp_path):
    first, other = (make_jobs(rows, tmp_path / name)[0] for name in ("a", "b"))
    assert first.fingerprint == other.fingerprint
    assert first.staged != other.staged


def test_each_split_has_a_staging_directory_of_its_own():
    assert shard_jobs.staging_directory("out", "train") == "out/.making-train"
    assert shard_jobs.staging_directory("out", "test") == "out/.making-test"


def test_limits_count_where_they_decide_which_images_are_skipped(rows, tmp_path):
    for on_error in ("stop", "skip"):
        usual, other = (
            shard_jobs.make_jobs(
                rows, str(tmp_path), "train", CONVERT, on_error, limits.ImageLimits(max_image_side=side)
            )
            for side in (1000, 2000)
        )
        assert (usual[0].fingerprint == other[0].fingerprint) is (on_error == "stop")
        assert other[0].limits.max_image_side == 2000


def test_a_job_in_a_file_is_the_same_job(rows, tmp_path):
    job = make_jobs(rows, tmp_path / "out", "skip", trim_border=True)[1]
    path = shard_jobs.write_job(job)
    assert path == str(tmp_path / "out" / ".making-train" / "train01.job.json")
    assert shard_jobs.read_job(path) == job


@pytest.mark.parametrize(
    ("count", "first", "last"),
    [(10, "train00", "train09"), (100, "train00", "train99"), (101, "train000", "train100")],
)
def test_the_names_of_shards_have_one_width_and_sort_as_their_numbers(rows, tmp_path, count, first, last):
    many = rows.iloc[[0] * count].assign(shard=range(count))
    names = [job.staged.rpartition("/")[2] for job in make_jobs(many, tmp_path)]
    assert (names[0], names[-1]) == (first, last)
    assert sorted(names) == names
