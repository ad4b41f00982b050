"""Reads folds from tables: a folds file, the index of a record set, or a column of a table."""

import logging

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)


def parse_folds(source: str, values: pd.Series) -> np.ndarray:
    """Converts the text of a column to folds.

    Args:
        source: Name of the column or file, for the error.
        values: Text `[n]`: a whole number from 0, or -1 or a blank for no fold. Decimals such as `3.0` are allowed.

    Returns:
        int64 `[n]`, the fold; -1 for -1 and for a blank.

    Raises:
        IsicError: A value is not a whole number from -1 to 999999999.

    Examples:
        >>> parse_folds("the column fold", pd.Series(["0", "2.0", ""])).tolist()
        [0, 2, -1]
    """
    texts = values.replace("", str(schema.UNKNOWN))
    numbers = texts.str.extract(r"^(\d{1,9}|-1)(?:\.0*)?$", expand=False)
    wrong = values[numbers.isna()].tolist()
    if wrong:
        raise errors.IsicError(
            f"{source} must hold whole numbers from 0, or -1 or a blank for images without a fold; got "
            f"{csv_tables.describe_first_cases(wrong)}; correct these values"
        )
    return numbers.astype("int64").to_numpy()


def read_folds(path: str, names: pd.Series) -> np.ndarray:
    r"""Reads the folds of images from a folds file or from the index of a record set.

    Logs how many images of the table are not in the file, and the reverse.

    Args:
        path: CSV file with `image_name` and `fold`.
        names: Text `[n]`, the image names of the table.

    Returns:
        int64 `[n]`, the fold of each image; -1 if the file has none for it.

    Raises:
        IsicError: The file lacks a column, lists an image twice, has a fold that is not a whole number, or lists none
            of the images.

    Examples:
        >>> with open("folds.csv", "w") as file:
        ...     _ = file.write("image_name,fold\na,0\nb,1\n")
        >>> read_folds("folds.csv", pd.Series(["b", "a", "c"])).tolist()
        [1, 0, -1]
    """
    table = csv_tables.read_table(path, ("image_name", "fold"))
    csv_tables.refuse_repeats(path, table, "list")
    folds = pd.Series(parse_folds(f"the column fold of {path}", table["fold"]), table["image_name"])
    absent = names[~names.isin(folds.index)]
    unknown = folds.index.difference(names, sort=False)
    if len(absent) == len(names):
        raise errors.IsicError(
            f"{path} lists none of the table's {len(names)} images, but for example {unknown[0]!r}; check both paths"
        )
    if len(absent):
        cases = csv_tables.describe_first_cases(absent.tolist())
        _LOG.warning(f"{len(absent)} images of the table are not in {path}: {cases}")
    if len(unknown):
        cases = csv_tables.describe_first_cases(unknown.tolist())
        _LOG.warning(f"{len(unknown)} images of {path} are not in the table: {cases}")
    return folds.reindex(names, fill_value=schema.UNKNOWN).to_numpy()
