"""Checks that several kinds of files share: predictions must be numbers from 0 to 1."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

_MOST_SHOWN = 3


def list_first(values: Sequence[Any]) -> str:
    """Joins the first three values for an error message, with "..." in place of the others.

    Args:
        values: Values of any type, at least one.

    Returns:
        Text such as `a, b, c, ...`.

    Examples:
        >>> list_first(["a", "b", "c", "d"])
        'a, b, c, ...'
    """
    shown = [str(value) for value in values[:_MOST_SHOWN]]
    if len(values) > _MOST_SHOWN:
        shown.append("...")
    return ", ".join(shown)


def describe_invalid_probabilities(
    values: npt.ArrayLike, names: Sequence[str] | None = None, noun: str = "predictions"
) -> str:
    """Describes which values are not numbers from 0 to 1, for an error message.

    Args:
        values: Numbers of any shape; `[n]` with names.
        names: Names of the images, `[n]`; None to quote the values instead.
        noun: What the values are.

    Returns:
        Text such as `expected predictions from 0 to 1, 2 of 5 are not (a, b)`; "" where all are valid.

    Examples:
        >>> describe_invalid_probabilities([0.5, 1.5, float("nan")], ["a", "b", "c"])
        'expected predictions from 0 to 1, 2 of 3 are not (b, c)'
        >>> describe_invalid_probabilities([0.0, 1.0])
        ''
    """
    numbers = np.asarray(values, np.float64)
    invalid = ~((numbers >= 0) & (numbers <= 1))
    if not invalid.any():
        return ""
    quoted = numbers[invalid].tolist() if names is None else np.asarray(names, dtype=object)[invalid].tolist()
    return f"expected {noun} from 0 to 1, {invalid.sum()} of {numbers.size} are not ({list_first(quoted)})"
