"""Pairs of duplicate images: reads them, and finds the images that they link."""

import logging
from collections.abc import Iterable

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import components, csv_tables, filesystem, identity

_LOG = logging.getLogger(__name__)


def read_pairs(path: str) -> pd.DataFrame:
    r"""Reads lists of duplicate images, such as ISIC's own or the output of `tfrecord_tools.duplicates`.

    Args:
        path: CSV files, separated by commas, with the columns `image_name_1` and `image_name_2`; other columns are
            ignored. A file may have no rows.

    Returns:
        DataFrame of text with the columns `image_name_1` and `image_name_2`, one row per pair.

    Raises:
        ConfigError: No file is named.
        IsicError: A file does not exist, is not a CSV file, lacks a column, or leaves a name blank.

    Examples:
        >>> import tempfile
        >>> with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        ...     print("image_name_1,image_name_2,distance", "a,b,0.1", sep="\n", file=file, flush=True)
        ...     read_pairs(file.name).to_dict("list")
        {'image_name_1': ['a'], 'image_name_2': ['b']}
    """
    files = filesystem.split_list(path)
    if not files:
        raise errors.ConfigError(f"expected CSV files of pairs in --duplicates, got {path!r}; name a file or omit it")
    return pd.concat([_read_file(file) for file in files], ignore_index=True)


def _read_file(path: str) -> pd.DataFrame:
    table = csv_tables.read_table(path, schema.PAIR_COLUMNS, may_be_empty=True)
    pairs = table[list(schema.PAIR_COLUMNS)]
    blank = (pairs == "").any(axis=1)
    if blank.any():
        raise errors.IsicError(
            f"{path} must name two images in every row, but {blank.sum()} rows do not (first: row "
            f"{blank.idxmax() + 1}); fill in the missing names or delete these rows"
        )
    return pairs


def log_foreign_pairs(path: str, pairs: pd.DataFrame, names: pd.Series) -> None:
    """Logs that a list of duplicates names none of some images, as a list of other data does; few images may have none.

    Args:
        path: The lists, for the log.
        pairs: See `read_pairs`.
        names: Text `[n]`, image names, in any spelling.
    """
    files = filesystem.split_list(path)
    # Of several lists, one of other data is noticed too.
    for source, listed in [(path, pairs)] if len(files) < 2 else [(file, _read_file(file)) for file in files]:
        if listed.empty or names.empty:
            continue
        if not any(identity.find_matches(listed[column], names).any() for column in schema.PAIR_COLUMNS):
            _LOG.warning(
                f"note: {source} names none of the {len(names)} images ({names.iloc[0]!r} is an image, the list begins "
                f"with {listed.iloc[0, 0]!r}); check that both are of the same data"
            )


def find_linked_names(names: Iterable[str], pairs: pd.DataFrame | None) -> set[str]:
    """Returns names and all names that duplicate pairs link to them, directly or through other images.

    Args:
        names: Image names to start from, in any spelling; pairs need not mention them.
        pairs: See `read_pairs`; None for no pairs.

    Returns:
        Set of image names, a superset of `names`; those of the pairs are spelled as there.

    Examples:
        >>> pairs = pd.DataFrame({"image_name_1": ["a", "c", "x"], "image_name_2": ["b", "b", "y"]})
        >>> sorted(find_linked_names({"a", "z"}, pairs))
        ['a', 'b', 'c', 'z']
    """
    given = set(names)
    if pairs is None or pairs.empty:
        return given
    flat = pd.Series(pairs[list(schema.PAIR_COLUMNS)].to_numpy(object).ravel())
    codes, photographs = pd.factorize(identity.image_keys(flat))
    labels = components.label_components(codes.reshape(-1, 2), len(photographs))
    is_given = photographs.isin({identity.image_key(name) for name in given})
    is_linked = np.isin(labels[codes], labels[is_given])
    return given | set(flat[is_linked])
