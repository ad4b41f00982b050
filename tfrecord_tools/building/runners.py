"""Where the shards of a set are made: in processes of this machine, or wherever Apache Beam runs them."""

import concurrent.futures.process
import contextlib
import multiprocessing
import os
import shlex
import signal
import threading

from tqdm import tqdm

from tfrecord_tools import errors
from tfrecord_tools.building import shard_writer

# A process takes a second to start.
_IMAGES_A_PROCESS = 50
# What a worker process shares with the one that started it.
_shared = {}


class _StoppedError(Exception):
    """Ends a worker's shard because the build has ended."""


def run_local(jobs, workers):
    """Makes shards in processes of this machine, one shard a process at a time.

    Args:
        jobs: See `shard_writer.make_jobs`.
        workers: Number of processes at the most; a few images, or with 1 all of them, are done in this one.

    Raises:
        IsicError: See `shard_writer.make_shard`.
        RuntimeError: A process died, as of too little memory.
    """
    total = sum(len(job["rows"]) for job in jobs)
    with tqdm(total=total, desc=jobs[0]["split"] if jobs else None, unit="image", disable=None) as progress:
        workers = min(workers, len(jobs), 1 + total // _IMAGES_A_PROCESS)
        if workers > 1:
            _run_processes(jobs, workers, progress)
        else:
            for job in jobs:
                shard_writer.make_shard(job, progress.update)


def _run_processes(jobs, workers, progress):
    # Not fork: where TensorFlow is loaded too, its threads would not come along.
    context = multiprocessing.get_context("spawn")
    done, stop = context.Value("q", 0), context.Event()
    executor = concurrent.futures.ProcessPoolExecutor(workers, context, _start_worker, (done, stop))
    try:
        with _deaf_to_interrupts():
            waiting = {executor.submit(_make, job) for job in jobs}
        while waiting:
            ended, waiting = concurrent.futures.wait(waiting, 0.2, concurrent.futures.FIRST_COMPLETED)
            progress.update(done.value - progress.n)
            for future in ended:
                future.result()
    except concurrent.futures.process.BrokenProcessPool as error:
        raise RuntimeError("a worker process died, perhaps of too little memory; try fewer --workers") from error
    finally:
        stop.set()
        executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_interrupts():
    """Starts processes that Ctrl-C does not reach: it is this process's to answer, and ends them in good order."""
    main = threading.current_thread() is threading.main_thread()
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN) if main else None
    try:
        yield
    finally:
        if main:
            signal.signal(signal.SIGINT, handler)


def _start_worker(done, stop):
    _shared.update(done=done, stop=stop)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)


def _make(job):
    def advance():
        with _shared["done"].get_lock():
            _shared["done"].value += 1
        if _shared["stop"].is_set():
            raise _StoppedError

    shard_writer.make_shard(job, advance)


def run_beam(jobs, options):
    """Makes the same shards as an Apache Beam pipeline; they and their entries are all that it gives.

    Args:
        jobs: See `shard_writer.make_jobs`; the paths in them must be reachable from every worker.
        options: Beam's own options as on a command line, as `--runner=DataflowRunner --project=...`; "" for a runner
            on this machine.

    Raises:
        IsicError: apache-beam is not installed, or does not know an option.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise errors.IsicError(f"--runner=beam needs apache-beam ({error}): pip install apache-beam") from error
    with beam.Pipeline(options=PipelineOptions(shlex.split(options))) as pipeline:
        # Without the reshuffle, a runner may fuse the steps and make all shards in one worker.
        pipeline | beam.Create(jobs) | beam.Reshuffle() | beam.Map(shard_writer.make_shard)
