"""Finds out which batch fits the memory of a core, with few compilations."""

from collections.abc import Callable

from isic_tf.distribution import tpu_compiler
from isic_tf.training import memory_estimate

# Compilations of a search.
_MOST_TRIALS = 5
# A search for the largest batch ends this close to one that does not fit; the compiler needs this reserve, too.
_CLOSE = 0.06
_RESERVE = 0.03
# From a number to the compiled program of that size.
Compile = Callable[[int], tpu_compiler.CompiledProgram]
Need = tuple[float, float] | None


def find_largest_batch(compile_batch: Compile, failed: int, need: Need, fixed: float, unit: int) -> int:
    """Finds the largest number of images of a core that fits, by few compilations.

    Args:
        compile_batch: Compiles the step for a number of images of a core.
        failed: Number of images that does not fit.
        need: Bytes that it needs, and bytes that a core has, see `CompiledProgram.need`.
        fixed: Bytes that do not depend on the images, such as variables.
        unit: What the number of images has to be a multiple of.

    Returns:
        A multiple of the unit that fits, 0 if none was found. Unless the trials ran out, at most 6 % more, and one
        multiple, do not fit.
    """
    low, high = 0, -(-failed // unit)
    guess = _estimate(failed, need, fixed, unit)
    for _ in range(_MOST_TRIALS):
        if guess <= low or high - low <= max(1, _CLOSE * high):
            break
        number = min(guess, high - 1)
        found = compile_batch(number * unit)
        if found.is_accepted:
            low = number
            guess = (low + high) // 2
        else:
            high = number
            guess = _estimate(number * unit, found.need, fixed, unit)
    return low * unit


def _estimate(failed: int, need: Need, fixed: float, unit: int) -> int:
    """Estimates how many units of images fit, from the need of a number of images that does not."""
    return max(1, int(_estimate_images(failed, need, fixed) * (1 - _RESERVE)) // unit)


def _estimate_images(failed: int, need: Need, fixed: float) -> float:
    if not need or need[0] <= fixed:
        return failed / 2
    return failed * max(need[1] - fixed, 0) / (need[0] - fixed)


def find_micro_batches(compile_parts: Compile, share: int, parts: int, need: Need, fixed: float) -> int:
    """Finds the smallest number of micro-batches that fits, by few compilations.

    Args:
        compile_parts: Compiles the step for a number of micro-batches.
        share: Images of a core in a step.
        parts: Number of micro-batches that does not fit.
        need: Bytes that it needs, and bytes that a core has, see `CompiledProgram.need`.
        fixed: Bytes that do not depend on the images, such as variables.

    Returns:
        Number of micro-batches; those whose images are multiples of 8 go first. 0 if none fits.
    """
    divisors = [count for count in range(parts + 1, share + 1) if share % count == 0]
    candidates = [count for count in divisors if share // count % memory_estimate.TPU_ROWS == 0] or divisors
    # What is estimated not to fit is left out, but for the last of it: the compiler saves memory where it must.
    most_images = _estimate_images(share // parts, need, fixed)
    too_large = [count for count in candidates if share / count > most_images]
    candidates = candidates[max(len(too_large) - 1, 0) :]
    for count in candidates[:_MOST_TRIALS]:
        if compile_parts(count).is_accepted:
            return count
    return 0
