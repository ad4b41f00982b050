"""Reads folds from tables: a folds file, the index of a record set, or a column of a table."""

import logging

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables, identity, name_join

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


def match_folds(source: str, fold_table: pd.DataFrame, names: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """Looks up the folds of images by name, in any spelling; logs how many images the file puts in no fold.

    Args:
        source: Name of the folds file.
        fold_table: DataFrame of text with `image_name` and `fold`.
        names: Text `[n]`, image names.

    Returns:
        folds: int64 `[n]`, the fold of each image; -1 for no fold.
        rows: int64 `[n]`, the row of each image in the folds file; -1 if the file does not list it.

    Raises:
        IsicError: The file lists an image twice, or in two spellings with two folds, or a fold is not a whole number.

    Examples:
        >>> fold_table = pd.DataFrame({"image_name": ["ISIC_0000001", "b"], "fold": ["3", "0"]})
        >>> folds, rows = match_folds("folds.csv", fold_table, pd.Series(["b", "isic_1.jpg", "c"]))
        >>> folds.tolist(), rows.tolist()
        ([0, 3, -1], [1, 0, -1])
    """
    csv_tables.refuse_repeats(source, fold_table, "list")
    rows = name_join.find_rows(names, fold_table["image_name"], source)
    _refuse_contradictions(source, fold_table, rows)
    is_listed = rows >= 0
    texts = pd.Series("", names.index, dtype=object)
    texts[is_listed] = fold_table["fold"].to_numpy()[rows[is_listed]]
    folds = parse_folds(f"the column fold of {source}", texts)
    without = names[is_listed & (folds == schema.UNKNOWN)].tolist()
    if without:
        _LOG.warning(
            f"note: {len(without)} of {len(names)} images have no fold in {source} (first: {without[0]}); they are in "
            "no fold"
        )
    return folds, rows


def _refuse_contradictions(source: str, fold_table: pd.DataFrame, rows: np.ndarray) -> None:
    """Refuses a file with a second name of an image of the table, in another fold.

    Two images of the table that are one photograph in two folds are a leak, which `leaks.find_split` finds.
    """
    is_used = np.isin(np.arange(len(fold_table)), rows)
    if is_used.all():
        return
    keys = identity.image_keys(fold_table["image_name"])
    used, others = (fold_table.assign(key=keys)[mask] for mask in (is_used, ~is_used))
    pairs = used.merge(others, on="key", suffixes=("", "_other"))
    differing = pairs[pairs["fold"] != pairs["fold_other"]]
    if len(differing):
        row = differing.iloc[0]
        raise errors.IsicError(
            f"{source} lists one photograph under two names, {row['image_name']!r} in fold {row['fold']!r} and "
            f"{row['image_name_other']!r} in fold {row['fold_other']!r}; give both the same fold, or remove one"
        )


def read_folds(path: str, names: pd.Series) -> np.ndarray:
    r"""Reads the folds of images from a folds file or from the index of a record set.

    Logs how many images of the table are not in the file or have no fold there, and the reverse.

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
    folds, rows = match_folds(path, table, names)
    absent = names[rows < 0]
    unknown = table.loc[~np.isin(np.arange(len(table)), rows), "image_name"].tolist()
    if len(absent) == len(names):
        raise errors.IsicError(
            f"{path} lists none of the table's {len(names)} images, but for example {unknown[0]!r}; check both paths"
        )
    if len(absent):
        cases = csv_tables.describe_first_cases(absent.tolist())
        _LOG.warning(f"{len(absent)} images of the table are not in {path}: {cases}")
    if len(unknown):
        cases = csv_tables.describe_first_cases(unknown)
        _LOG.warning(f"{len(unknown)} images of {path} are not in the table: {cases}")
    return folds
