"""Describes the work of each shard, complete in itself, so that any process or machine can do it."""

import dataclasses
import hashlib
import json
import os
from typing import Any

import pandas as pd

import tfrecord_tools
from tfrecord_tools.building import record_conversion
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.imaging.sources import addresses
from tfrecord_tools.io import atomic_write, filesystem

_ROW_COLUMNS = ["image_name", "path", "offset", "length", "integers"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShardJob:
    """The work of one shard, in plain values.

    Attributes:
        split: `train` or `test`.
        shard: Number of the shard, from 0.
        options: How to convert the images.
        on_error: `stop` or `skip`, for images that cannot be read.
        rows: Rows in order, see `record_conversion.to_record`.
        fingerprint: Hash of everything that determines the shard's bytes.
        staged: Path of the shard in the staging directory, without the random suffix and extension; its last part, such
            as `train07`, begins the name of the finished shard.
        limits: What the decoding of an image may take.
    """

    split: str
    shard: int
    options: record_conversion.ConversionOptions
    on_error: str
    rows: list[dict[str, Any]]
    fingerprint: str
    staged: str
    limits: image_limits.ImageLimits = image_limits.DEFAULTS

    @property
    def entry_path(self) -> str:
        """Path of the entry of the finished shard."""
        return f"{self.staged}.json"


def make_jobs(
    rows: pd.DataFrame,
    output: str,
    split: str,
    options: record_conversion.ConversionOptions,
    on_error: str,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
) -> list[ShardJob]:
    """Describes the work of each shard.

    Args:
        rows: DataFrame ordered by `shard`, with the columns that `record_conversion.to_record` reads.
        output: Directory of the record set.
        split: `train` or `test`.
        options: How to convert the images.
        on_error: `stop` or `skip`.
        limits: What the decoding of an image may take.

    Returns:
        List of `ShardJob`, by number of the shard.
    """
    # Numbers of one width: what sorts file names then sorts shards.
    digits = max(2, len(str(rows["shard"].max())))
    jobs = []
    for number, part in rows.groupby("shard", sort=True):
        shard = int(number)
        job_rows = part[_ROW_COLUMNS].to_dict("records")
        job = ShardJob(
            split=split,
            shard=shard,
            options=options,
            on_error=on_error,
            rows=job_rows,
            fingerprint=_fingerprint(split, shard, options, on_error, limits, job_rows),
            staged=os.path.join(staging_directory(output, split), f"{split}{shard:0{digits}d}"),
            limits=limits,
        )
        jobs.append(job)
    return jobs


def job_path(job: ShardJob) -> str:
    """Returns the path of the file that `write_job` writes, in the staging directory."""
    return f"{job.staged}.job.json"


def write_job(job: ShardJob) -> str:
    """Writes a job to a file beside its shard, for a worker on another machine.

    Args:
        job: See `make_jobs`.

    Returns:
        Path of the file.
    """
    path = job_path(job)
    atomic_write.write_text(path, json.dumps(dataclasses.asdict(job)))
    return path


def read_job(path: str) -> ShardJob:
    """Reads what `write_job` wrote.

    Args:
        path: Path of the file.

    Returns:
        The same job.
    """
    values = json.loads(filesystem.read(path))
    options = record_conversion.ConversionOptions(**values.pop("options"))
    limits = values.pop("limits")
    kind = image_limits.ImageFileLimits if "monochrome" in limits else image_limits.ImageLimits
    return ShardJob(**values, options=options, limits=kind(**limits))


def staging_directory(output: str, split: str) -> str:
    """Returns the directory in which the shards of a split wait until all are finished."""
    return os.path.join(output, f".making-{split}")


def _fingerprint(
    split: str,
    shard: int,
    options: record_conversion.ConversionOptions,
    on_error: str,
    limits: image_limits.ImageLimits,
    rows: list[dict[str, Any]],
) -> str:
    """Computes a hash of everything that determines a shard's bytes; local sources count by their size and time."""
    job: dict[str, Any] = {
        "split": split,
        "shard": shard,
        "options": dataclasses.asdict(options),
        "on_error": on_error,
        "rows": rows,
    }
    sources = []
    # Of an image in a container, the container may change.
    for path in sorted({addresses.split(row["path"])[0] for row in rows}):
        if os.path.exists(path):
            stat = os.stat(path)
            sources.append((path, stat.st_size, stat.st_mtime_ns))
    if on_error == "skip":
        # Other limits leave other images out.
        job["limits"] = dataclasses.asdict(limits)
    facts = [tfrecord_tools.__version__, job, sources]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
