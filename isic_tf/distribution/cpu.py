"""Counts the CPU cores available to this process."""

import os


def count_cores() -> int:
    """Returns the number of CPU cores that this process may use.

    Returns:
        1 or more; cores that the process is not allowed to run on are not counted.
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
