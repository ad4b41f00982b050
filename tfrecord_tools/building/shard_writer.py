"""Writes one shard from its rows, independently of others and repeatably.

Shards are written to a hidden directory inside the set's, `.making-{split}`, each with an entry that records what it
was made from and what it holds. A build that was interrupted finds its finished shards there.
"""

import collections
import json
import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from tfrecord_tools import errors
from tfrecord_tools.building import record_conversion, shard_jobs
from tfrecord_tools.imaging.sources import addresses
from tfrecord_tools.io import atomic_write, filesystem, identity, manifest, tfrecord


def make_shard(job: shard_jobs.ShardJob, advance: Callable[[], object] = lambda: None) -> None:
    """Writes one shard and its entry; the same job gives the same bytes.

    Args:
        job: See `shard_jobs.make_jobs`.
        advance: Called after each image; an exception that it raises ends the work.

    Raises:
        CorruptRecordError: An image cannot be read or decoded, and `on_error` is `stop`.
        IsicError: The shard cannot be written.
    """
    # Attempts at one shard may run at the same time on several machines; the last one to end wins.
    staged = f"{job.staged}-{secrets.token_hex(4)}.tfrec"
    with atomic_write.replaced(staged) as temporary:
        digests, skipped, tags = _write_records(job, temporary, advance)
        count = len(digests)
        shard = manifest.describe_shard(temporary, f"{os.path.basename(job.staged)}-{count}.tfrec", count)
    entry = {"fingerprint": job.fingerprint, "staged": staged, "shard": shard, "digests": digests}
    atomic_write.write_text(job.entry_path, json.dumps({**entry, "skipped": skipped, "tags": tags}))


def _write_records(
    job: shard_jobs.ShardJob, path: str, advance: Callable[[], object]
) -> tuple[list[str], list[dict[str, str]], collections.Counter[str]]:
    """Writes the records of a job to a file.

    Returns:
        The digest of the image of each record, see `identity.image_digest`; the skipped images, each with its problem;
        and the number of DICOM `files` together with how many of them disagree with the table, by name of the tag.
    """
    digests = []
    skipped = []
    tags: collections.Counter[str] = collections.Counter()
    name = "the first image"
    try:
        with filesystem.open(path, "wb") as file:
            for row in job.rows:
                name = row["image_name"]
                record, disagreements, problem = _convert(row, job)
                if record is None:
                    skipped.append({"image_name": name, "problem": problem})
                else:
                    tfrecord.write(file, record)
                    digests.append(identity.image_digest(tfrecord.parse(record)[0]["image"]))
                if disagreements is not None:
                    tags.update(["files", *disagreements])
                advance()
    except Exception as error:
        if not filesystem.is_failure(error):
            raise
        directory, shard = os.path.split(job.staged)
        raise errors.IsicError(
            f"cannot write {shard} in {directory} at image {name}: {_one_line(error)}; free disk space, then run the "
            "same command to resume"
        ) from error
    return digests, skipped, tags


def _convert(row: Mapping[str, Any], job: shard_jobs.ShardJob) -> tuple[bytes | None, list[str] | None, str]:
    """Returns the record, the tags that disagree (see `to_record`) and ""; or None twice and the problem."""
    try:
        record, disagreements = record_conversion.to_record(row, job.options, job.limits)
    except Exception as error:
        if not isinstance(error, ValueError) and not filesystem.is_failure(error):
            raise
        problem = _one_line(error)
        if job.on_error == "stop":
            raise errors.CorruptRecordError(
                f"image {row['image_name']}: {problem}; to skip unreadable images, use --on_error=skip"
            ) from error
        # The manifest names files, but not the directories of this machine.
        return None, None, addresses.hide_directories(problem, row["path"])
    return record, disagreements, ""


def _one_line(error: Exception) -> str:
    message = getattr(error, "message", error)
    return " ".join(str(message).split())
