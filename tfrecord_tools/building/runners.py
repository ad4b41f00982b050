"""Writes the shards of a set in processes of this machine, or where Apache Beam runs them."""

import concurrent.futures.process
import contextlib
import multiprocessing
import os
import shlex
import signal
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from tqdm import tqdm

from tfrecord_tools import errors
from tfrecord_tools.building import shard_jobs, shard_writer
from tfrecord_tools.io import filesystem

# A process takes a second to start, so each should have at least this many images.
_IMAGES_PER_PROCESS = 50
# Threads that write the jobs of workers on other machines.
_WRITERS = 16
# What a worker process shares with the main process: the number of finished images, and the event that ends the work.
_shared: dict[str, Any] = {}


class _StoppedError(Exception):
    """Ends a worker's shard because the build has ended."""


def run_local(jobs: Sequence[shard_jobs.ShardJob], workers: int) -> None:
    """Writes shards in processes of this machine, one shard per process at a time.

    Args:
        jobs: See `shard_jobs.make_jobs`.
        workers: Maximum number of processes. With 1, or for a few images, the shards are written in this process.

    Raises:
        IsicError: See `shard_writer.make_shard`; or a process died, for example because memory ran out.
    """
    total = sum(len(job.rows) for job in jobs)
    num_processes = min(workers, len(jobs), 1 + total // _IMAGES_PER_PROCESS)
    with tqdm(total=total, desc=jobs[0].split if jobs else None, unit="image", disable=None) as progress:
        if num_processes > 1:
            _run_processes(jobs, num_processes, progress)
        else:
            for job in jobs:
                shard_writer.make_shard(job, progress.update)


def _run_processes(jobs: Sequence[shard_jobs.ShardJob], workers: int, progress: Any) -> None:
    # Not fork: if TensorFlow is loaded, its threads would be missing in the child.
    context = multiprocessing.get_context("spawn")
    num_done = context.Value("q", 0)
    stop = context.Event()
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (num_done, stop))
    try:
        with _ignore_interrupts():
            waiting = {executor.submit(_make, job) for job in jobs}
        while waiting:
            ended, waiting = concurrent.futures.wait(waiting, 0.2, concurrent.futures.FIRST_COMPLETED)
            progress.update(num_done.value - progress.n)
            for future in ended:
                future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise errors.IsicError("a worker process died, possibly out of memory; reduce --workers") from error
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _ignore_interrupts() -> Iterator[None]:
    """Starts processes that ignore Ctrl-C: this process handles it, and ends them cleanly."""
    is_main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGINT, handler)


def _start_worker(num_done: Any, stop: Any) -> None:
    _shared.update(num_done=num_done, stop=stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
    os._exit(1)


def _make(job: shard_jobs.ShardJob) -> None:
    def advance() -> None:
        with _shared["num_done"].get_lock():
            _shared["num_done"].value += 1
        if _shared["stop"].is_set():
            raise _StoppedError

    shard_writer.make_shard(job, advance)


def run_beam(jobs: Sequence[shard_jobs.ShardJob], options: str) -> None:
    """Writes the same shards in an Apache Beam pipeline; the shards and their entries are its only output.

    Args:
        jobs: See `shard_jobs.make_jobs`; every worker must be able to read and write their paths. They are written to
            the staging directory, where the workers read them.
        options: Options of Beam as on a command line, such as `--runner=DataflowRunner --project=...`; "" for a runner
            on this machine.

    Raises:
        ConfigError: apache-beam is not installed.
        IsicError: See `shard_writer.make_shard`.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise errors.ConfigError(
            f"--runner=beam needs apache-beam ({error}); install it with: pip install apache-beam"
        ) from error
    # As files: Dataflow refuses a graph of more than 10 MB, the rows of some 50,000 images.
    with _job_files(jobs) as paths, beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
        # Without the reshuffle, a runner may fuse the steps and write all shards in one worker.
        pipeline | beam.Create(paths) | beam.Reshuffle() | beam.Map(_make_from_file)


@contextlib.contextmanager
def _job_files(jobs: Sequence[shard_jobs.ShardJob]) -> Iterator[list[str]]:
    """Writes jobs to files, and removes them in the end: they hold names and metadata of patients' images."""
    # In threads: a bucket takes a tenth of a second for each.
    with concurrent.futures.ThreadPoolExecutor(_WRITERS) as pool:
        try:
            yield list(pool.map(shard_jobs.write_job, jobs))
        finally:
            list(pool.map(_remove_job, jobs))


def _remove_job(job: shard_jobs.ShardJob) -> None:
    filesystem.remove(shard_jobs.job_path(job), missing_ok=True)


def _make_from_file(path: str) -> None:
    try:
        job = shard_jobs.read_job(path)
    except Exception as error:
        if not filesystem.is_failure(error):
            raise
        raise errors.IsicError(
            f"{path} cannot be read on this worker ({error}); give --output a path that all workers reach"
        ) from error
    shard_writer.make_shard(job)
