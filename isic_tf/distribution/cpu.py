"""Counts the CPU cores available to this process."""

import os


def count_cores():
    """Counts the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
