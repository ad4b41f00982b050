"""Joins two lists by image name: names as they are first, then in their canonical form."""

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import identity

_LOG = logging.getLogger(__name__)


def find_rows(names: Sequence[str] | pd.Series, listed: Sequence[str] | pd.Series, source: str) -> np.ndarray:
    """Finds the row of each name in a list; logs how many are spelled in another way there.

    A name is first looked for as it is. One that is not found is looked for in its canonical form, see
    `identity.image_key`, among the rows that no other name is found in as it is.

    Args:
        names: Text `[n]`, image names, each once.
        listed: Text `[m]`, image names of the list, each once.
        source: What the list is called in the log and in errors, such as its path.

    Returns:
        int64 `[n]`, rows of the list, each at most once; -1 where a name is not in the list.

    Raises:
        IsicError: Several names, or several rows, are spellings of one photograph, so that it is open which is which.

    Examples:
        >>> find_rows(["ISIC_0000002", "ISIC_0000001", "c"], ["isic_1.jpg", "ISIC_0000002"], "labels.csv").tolist()
        [1, 0, -1]
    """
    # Indexes of objects: lookups in pandas' own string type take twenty times as long.
    given = pd.Index(names, dtype=object)
    others = pd.Index(listed, dtype=object)
    rows = others.get_indexer(given).astype(np.int64)
    missing = np.flatnonzero(rows < 0)
    is_free = np.ones(len(others), bool)
    is_free[rows[rows >= 0]] = False
    free = np.flatnonzero(is_free)
    if not len(missing) or not len(free):
        return rows
    keys = identity.image_keys(pd.Series(given[missing], missing, dtype=object))
    free_keys = identity.image_keys(pd.Series(others[free], free, dtype=object))
    keys = keys[keys.isin(free_keys)]
    free_keys = free_keys[free_keys.isin(keys)]
    for repeated, texts in (
        (keys[keys.duplicated(keep=False)], given),
        (free_keys[free_keys.duplicated(False)], others),
    ):
        if len(repeated):
            first, second = texts[repeated.index[repeated == repeated.iloc[0]][:2]]
            raise errors.IsicError(
                f"expected names that are each in one row of {source}, but {first!r} and {second!r} are spellings of "
                "one photograph and either may be meant; use the same names in both, or remove one of the two"
            )
    found = pd.Series(free_keys.index, free_keys.to_numpy())
    rows[keys.index] = keys.map(found)
    if len(keys):
        place = keys.index[0]
        _LOG.warning(
            f"note: {len(keys)} images are spelled in another way in {source} (for example {given[place]!r}, there "
            f"{others[rows[place]]!r}); they are joined"
        )
    return rows


def settle_missing(names: Sequence[str] | pd.Series, what: str, remedy: str, allowed: bool) -> None:
    """Refuses what only one of two joined lists holds or, where the user allows it, logs it.

    Args:
        names: Names that only one list holds; nothing happens where there are none.
        what: What they are and what they lack, such as `images of labels.csv have no prediction in scores.csv`.
        remedy: What to do, for the error.
        allowed: Whether to go on without them (`--allow_missing`).

    Raises:
        IsicError: There are such names, and going on without them is not allowed.

    Examples:
        >>> settle_missing(["a", "b"], "images of t.csv have no file in dir", "add the files", allowed=False)
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.IsicError: 2 images of t.csv have no file in dir (first: a); add the files, or go on ...
    """
    if not len(names):
        return
    text = f"{len(names)} {what} (first: {next(iter(names))})"
    if not allowed:
        raise errors.IsicError(f"{text}; {remedy}, or go on without them with --allow_missing")
    _LOG.warning(f"note: {text}")


def refuse_empty_join(rows: np.ndarray, names: Sequence[str] | pd.Series, listed: Sequence[str], texts: str) -> None:
    """Refuses a join in which no name has a row.

    Args:
        rows: See `find_rows`.
        names: Text `[n]`, as there.
        listed: Text `[m]`, as there.
        texts: What was joined, such as `the images of dir and the rows of t.csv`.

    Raises:
        IsicError: All rows are -1.
    """
    if len(rows) and (rows < 0).all():
        first, other = (next(iter(values)) if len(values) else "nothing" for values in (names, listed))
        raise errors.IsicError(
            f"expected {texts} to have names in common, got none ({first!r} in one, {other!r} in the other); check "
            "that both are of the same data"
        )
