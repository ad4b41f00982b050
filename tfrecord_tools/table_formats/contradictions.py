"""Lists what two tables, or two rows of one, say differently about one image."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from tfrecord_tools import errors

_MOST_CASES = 10
_MOST_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Contradiction:
    """One case: an image, or a lesion, a column, and both values with their tables."""

    name: str
    column: str
    values: tuple[str, str]
    paths: tuple[str, str]
    # How many other cases of the same column are not listed.
    more: int = 0

    def __str__(self) -> str:
        first, second = (repr(value) if value else "blank" for value in self.values)
        if self.paths[0] == self.paths[1]:
            return f"{self.name} has {self.column} {first} and {second} in {self.paths[0]}"
        return f"{self.name} has {self.column} {first} in {self.paths[0]} and {second} in {self.paths[1]}"


def list_cases(
    column: str,
    names: np.ndarray,
    values: tuple[np.ndarray, np.ndarray],
    differs: np.ndarray,
    paths: tuple[np.ndarray, np.ndarray],
) -> list[Contradiction]:
    """Lists the first rows that differ.

    Args:
        column: Name of the column.
        names: Names of the images, objects `[n]`.
        values: Values of both tables, objects `[n]` each.
        differs: bool `[n]`.
        paths: The tables that the values are from, objects `[n]` each.

    Returns:
        At most ten cases; the first has the number of those that are not listed.
    """
    places = np.flatnonzero(differs)
    shown = places[:_MOST_CASES]
    return [
        Contradiction(
            name=str(names[place]),
            column={"verdict": "target", "diagnosis_source": "diagnosis"}.get(column, column),
            values=(_describe(values[0][place]), _describe(values[1][place])),
            paths=(str(paths[0][place]), str(paths[1][place])),
            more=len(places) - len(shown) if number == 0 else 0,
        )
        for number, place in enumerate(shown)
    ]


def _describe(value: object) -> str:
    return str(getattr(value, "name", value))


def refuse(found: Sequence[Contradiction]) -> None:
    """Refuses contradictions.

    Args:
        found: The cases.

    Raises:
        IsicError: There are cases; the error lists the first of them.
    """
    if not found:
        return
    total = len(found) + sum(case.more for case in found)
    shown = "; ".join(map(str, found[:_MOST_SHOWN]))
    more = f"; and {total - _MOST_SHOWN} more" if total > _MOST_SHOWN else ""
    raise errors.IsicError(
        f"expected tables that agree on every image, got {total} contradictions: {shown}{more}; correct them, or leave "
        "one of the tables or columns out"
    )
