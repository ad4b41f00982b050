"""Counts what the server does, in the text format of Prometheus."""

import collections
import threading
import time

import psutil

# Upper bounds in seconds.
BOUNDS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """Counters of requests, images and passes, and a histogram of the seconds that judging takes. Safe for threads.

    Examples:
        >>> metrics = Metrics()
        >>> metrics.count_request("/judge", 200, 0.2)
        >>> 'isic_requests_total{path="/judge",status="200"} 1' in metrics.format(passes=0)
        True
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: collections.Counter[tuple[str, int]] = collections.Counter()
        self._buckets: collections.Counter[float] = collections.Counter()
        self._seconds = 0.0
        self._images = 0
        self._started = time.time()

    def count_request(self, path: str, status: int, seconds: float) -> None:
        """Counts a request that was answered.

        Args:
            path: Path of the endpoint.
            status: Status of the answer.
            seconds: What it took; of `/judge`, kept in the histogram.
        """
        with self._lock:
            self._requests[path, status] += 1
            if path == "/judge":
                self._seconds += seconds
                self._buckets[next((bound for bound in BOUNDS if seconds <= bound), float("inf"))] += 1

    def count_images(self, number: int) -> None:
        """Counts images that were judged."""
        with self._lock:
            self._images += number

    def format(self, passes: int) -> str:
        """Returns the metrics as text.

        Args:
            passes: Passes through the networks, see `Batcher.passes`.
        """
        with self._lock:
            lines = ["# HELP isic_requests_total Requests by path and status.", "# TYPE isic_requests_total counter"]
            for (path, status), count in sorted(self._requests.items()):
                lines.append(f'isic_requests_total{{path="{path}",status="{status}"}} {count}')
            lines += ["# HELP isic_judge_seconds Time of requests to /judge.", "# TYPE isic_judge_seconds histogram"]
            total = 0
            for bound in (*BOUNDS, float("inf")):
                total += self._buckets[bound]
                lines.append(f'isic_judge_seconds_bucket{{le="{"+Inf" if bound > BOUNDS[-1] else bound}"}} {total}')
            lines += [f"isic_judge_seconds_sum {self._seconds}", f"isic_judge_seconds_count {total}"]
            values = {
                "isic_images_total": ("counter", "Images that were judged.", self._images),
                "isic_passes_total": ("counter", "Passes through the networks.", passes),
                "process_resident_memory_bytes": ("gauge", "Memory.", psutil.Process().memory_info().rss),
                "process_start_time_seconds": ("gauge", "Start of the worker process.", self._started),
            }
        for name, (kind, text, value) in values.items():
            lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}", f"{name} {value}"]
        return "\n".join(lines) + "\n"
