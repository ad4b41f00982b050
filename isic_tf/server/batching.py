"""Joins the images of requests that wait into one pass through the networks, which one thread owns."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from isic_tf.diagnosis.network_results import NetworkResults

# Images of one pass; more wait for the next, so that no request waits for long.
_MOST_TOGETHER = 16
Compute = Callable[[np.ndarray, np.ndarray | None, Sequence[str]], NetworkResults]


@dataclasses.dataclass(frozen=True)
class _Job:
    images: np.ndarray  # uint8 [n, S, S, 3]
    known: np.ndarray | None  # float32 [n, m]
    result: "concurrent.futures.Future[NetworkResults]"


class Batcher:
    """A thread that judges the images of requests, several requests together.

    Attributes:
        passes: Passes through the networks so far.
    """

    def __init__(self, compute: Compute) -> None:
        """Starts the thread.

        Args:
            compute: See `Judge.compute`; called by that thread alone.
        """
        self.passes = 0
        self._compute = compute
        self._started: float | None = None
        self._waiting: set[concurrent.futures.Future[NetworkResults]] = set()
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="networks", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    @property
    def seconds(self) -> float:
        """Time that the pass that is running has taken so far, in s; 0 where none is."""
        started = self._started
        return 0.0 if started is None else time.monotonic() - started

    def submit(
        self, images: np.ndarray, known: np.ndarray | None = None
    ) -> "concurrent.futures.Future[NetworkResults]":
        """Queues the images of one patient.

        Args:
            images: uint8 `[n, S, S, 3]`.
            known: float32 `[n, m]`, see `clinical_metadata.encode`; None where the networks use no metadata.

        Returns:
            Future of their results; one that is cancelled before its turn is left out.
        """
        job = _Job(images, known, concurrent.futures.Future())
        self._waiting.add(job.result)
        job.result.add_done_callback(self._waiting.discard)
        self._queue.put(job)
        return job.result

    def abandon(self, error: Exception) -> None:
        """Tells every request that waits of an error, for the case that the thread hangs.

        Args:
            error: What their futures raise.
        """
        for result in tuple(self._waiting):
            _settle(result.set_exception, error)

    def close(self, seconds: float | None = None) -> None:
        """Finishes what is queued, and ends the thread.

        Args:
            seconds: Longest time to wait for it; None for as long as it takes.
        """
        self._queue.put(None)
        self._thread.join(seconds)

    def _work(self) -> None:
        pending: collections.deque[_Job] = collections.deque()
        is_open = True
        while is_open or pending:
            while (is_open and not pending) or not self._queue.empty():
                job = self._queue.get()
                if job:
                    pending.append(job)
                else:
                    is_open = False
            jobs = _take_together(pending)
            if jobs:
                self._run(jobs)

    def _run(self, jobs: list[_Job]) -> None:
        """Judges the images of several jobs together, and gives each its own results."""
        images = np.concatenate([job.images for job in jobs])
        # Of a request, all images are of one patient.
        patients = [f"request {number}" for number, job in enumerate(jobs) for _ in job.images]
        known = None if jobs[0].known is None else np.concatenate([job.known for job in jobs])
        self._started = time.monotonic()
        try:
            results = self._compute(images, known, patients)
        except Exception as error:  # Each request is told of it.
            for job in jobs:
                _settle(job.result.set_exception, error)
            return
        finally:
            self._started = None
        self.passes += 1
        start = 0
        for job in jobs:
            own = slice(start, start + len(job.images))
            _settle(job.result.set_result, NetworkResults(*(part[own] for part in results)))
            start = own.stop


def _settle(tell: Callable[[Any], None], outcome: Any) -> None:
    """Tells a request of its outcome, unless `Batcher.abandon` was first."""
    with contextlib.suppress(concurrent.futures.InvalidStateError):
        tell(outcome)


def _take_together(pending: "collections.deque[_Job]") -> list[_Job]:
    """Removes and returns the first jobs, as many as fit into one pass, at least one; drops cancelled ones."""
    jobs: list[_Job] = []
    count = 0
    while pending and (not jobs or count + len(pending[0].images) <= _MOST_TOGETHER):
        job = pending.popleft()
        is_wanted = job.result.cancelled() or not job.result.done()
        if is_wanted and job.result.set_running_or_notify_cancel():
            jobs.append(job)
            count += len(job.images)
    return jobs
