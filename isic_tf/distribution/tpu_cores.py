"""The cores of TPUs, and how fast one could run a program by the figures of its maker and its compiler."""

import dataclasses

# Memory in GiB, bandwidth in GB/s, 10^12 operations on bfloat16 a second, and clock in GHz, of a core as TensorFlow
# sees it. TPUs v2 and v3 have two cores a chip; the two of v4 and v5p work as one.
# Figures of a chip: cloud.google.com/tpu/docs/v2, v3, v4, v5e, v5p and v6e. Clocks: Jouppi et al., ISCA 2023, table 4
# (v2 to v4); of v5e and v5p the peak divided by the operations of the matrix units a cycle (4 and 8 units of 128 x
# 128). That of v6e is not published.
_FIGURES: dict[str, tuple[float, float, float, float | None]] = {
    "v2": (8, 350, 22.5, 0.7),
    "v3": (16, 450, 61.5, 0.94),
    "v4": (32, 1228, 275, 1.05),
    "v5e": (16, 819, 197, 1.5),
    "v5p": (95, 2765, 459, 1.75),
    "v6e": (32, 1638, 918, None),
}


@dataclasses.dataclass(frozen=True)
class Core:
    """A core of a TPU, as TensorFlow sees it.

    Args:
        memory_bytes: Bytes of its memory.
        bytes_per_second: Bytes that it reads and writes a second.
        flops_per_second: Floating-point operations on bfloat16 a second.
        cycles_per_second: Its clock; None where it is not published.
    """

    memory_bytes: float
    bytes_per_second: float
    flops_per_second: float
    cycles_per_second: float | None

    def describe_memory(self) -> str:
        """Formats the size of the memory, also in the units of 2^30 bytes that makers mean."""
        return f"{self.memory_bytes / 1e9:.1f} GB ({self.memory_bytes / 2**30:.0f} GiB)"

    def find_roofline(self, num_bytes: float, flops: float, cycles: float) -> tuple[float, str]:
        """Returns the time that a program takes by the roofline, and what limits it.

        Args:
            num_bytes: Bytes that the program reads and writes.
            flops: Its floating-point operations.
            cycles: Its cycles by the compiler's estimate.

        Returns:
            Seconds, and `memory`, `arithmetic` or `cycles`: the largest of the three times.
        """
        times = {"memory": num_bytes / self.bytes_per_second, "arithmetic": flops / self.flops_per_second}
        if self.cycles_per_second:
            times["cycles"] = cycles / self.cycles_per_second
        limit = max(times, key=lambda name: times[name])
        return times[limit], limit


def find_core(topology: str) -> Core | None:
    """Returns the core of a TPU by its topology.

    Args:
        topology: Name such as `v5e:1x1`.

    Returns:
        The core; None for a generation whose figures are not known here.
    """
    figures = _FIGURES.get(topology.partition(":")[0])
    if not figures:
        return None
    memory, bandwidth, peak, clock = figures
    return Core(memory * 2**30, bandwidth * 1e9, peak * 1e12, clock and clock * 1e9)
