"""Joins the images of requests that wait into one pass through the networks, which one thread owns."""

import collections
import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Callable, Sequence

import numpy as np

from isic_tf.diagnosis.network_results import NetworkResults

# Images of one pass; more wait for the next, so that no request waits for long.
_MOST_TOGETHER = 16
Compute = Callable[[np.ndarray, np.ndarray | None, Sequence[str]], NetworkResults]


@dataclasses.dataclass(frozen=True)
class _Job:
    images: np.ndarray  # uint8 [n, S, S, 3]
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
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name="networks", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread works."""
        return self._thread.is_alive()

    def submit(self, images: np.ndarray) -> "concurrent.futures.Future[NetworkResults]":
        """Queues the images of one patient.

        Args:
            images: uint8 `[n, S, S, 3]`.

        Returns:
            Future of their results; one that is cancelled before its turn is left out.
        """
        job = _Job(images, concurrent.futures.Future())
        self._queue.put(job)
        return job.result

    def close(self) -> None:
        """Finishes what is queued, and ends the thread."""
        self._queue.put(None)
        self._thread.join()

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
        try:
            results = self._compute(images, None, patients)
        except Exception as error:  # Each request is told of it.
            for job in jobs:
                job.result.set_exception(error)
            return
        self.passes += 1
        start = 0
        for job in jobs:
            own = slice(start, start + len(job.images))
            job.result.set_result(NetworkResults(*(part[own] for part in results)))
            start = own.stop


def _take_together(pending: "collections.deque[_Job]") -> list[_Job]:
    """Removes and returns the first jobs, as many as fit into one pass, at least one; drops cancelled ones."""
    jobs: list[_Job] = []
    count = 0
    while pending and (not jobs or count + len(pending[0].images) <= _MOST_TOGETHER):
        job = pending.popleft()
        if job.result.set_running_or_notify_cancel():
            jobs.append(job)
            count += len(job.images)
    return jobs
