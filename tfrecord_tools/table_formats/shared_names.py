"""Names that several data sets share: keeps plain numbers apart, and describes what is the same image or person."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, identity
from tfrecord_tools.table_formats import contradictions
from tfrecord_tools.table_formats.normalized_table import PEOPLE, NormalizedTable

_PLAIN_NUMBER = r"\d+(\.0+)?"


def prefix_people(tables: Sequence[NormalizedTable]) -> list[str]:
    """Puts the name of the data set before patients and lesions that are plain numbers.

    Args:
        tables: The tables, whose rows are changed: where their format has an `id_prefix`, and where there are several
            sources.

    Returns:
        One line for each column that was changed.
    """
    notes = []
    is_alone = _count_sources(tables) < 2
    for table in tables:
        own = table.table_format.id_prefix
        if not own and is_alone:
            continue
        for column in PEOPLE:
            texts = table.rows[column]
            # A zero among names stands for an unknown one, and 7, 7.0 and 007 are one number.
            keys = identity.person_keys(texts)
            is_number = keys.astype("str").str.fullmatch(_PLAIN_NUMBER).astype(bool)
            if is_number.any():
                prefix = own or table.rows["source"]
                table.rows[column] = texts.where(~is_number, prefix + "_" + keys)
                first = table.rows[column][is_number.idxmax()]
                notes.append(
                    f"{int(is_number.sum())} values of {column} in {table.path} are plain numbers, which other data "
                    f"sets have too; they got the data set's name in front (for example {first})"
                )
    return notes


def _count_sources(tables: Sequence[NormalizedTable]) -> int:
    return len({source for table in tables for source in table.rows["source"].unique()})


def refuse_shared_names(tables: Sequence[NormalizedTable]) -> None:
    """Refuses image names that are plain numbers and occur in two data sets, where they are other images.

    Args:
        tables: Tables of images.

    Raises:
        IsicError: There are such names.
    """
    if _count_sources(tables) < 2:
        return
    names = pd.concat([table.rows[["image_name", "source"]] for table in tables]).drop_duplicates()
    numbers = names[names["image_name"].astype("str").str.fullmatch(_PLAIN_NUMBER).to_numpy(bool)]
    shared = numbers[numbers["image_name"].duplicated(keep=False)]
    if len(shared):
        first = shared["image_name"].iloc[0]
        sources = " and ".join(shared.loc[shared["image_name"] == first, "source"])
        raise errors.IsicError(
            f"{shared['image_name'].nunique()} images of several data sets have the same number as a name (first: "
            f"{first} of {sources}), and cannot be told apart; rename the files and rows of one of them"
        )


def describe_shared_people(tables: Sequence[NormalizedTable]) -> list[str]:
    """Describes patients that are the same number in two tables of one source without an image in common.

    Args:
        tables: Tables of images.

    Returns:
        One line for each such pair of tables.
    """
    notes = []
    for place, table in enumerate(tables):
        for other in tables[:place]:
            if set(table.rows["image_name"]) & set(other.rows["image_name"]):
                continue
            shared = sorted(_list_numbers(table) & _list_numbers(other))
            if shared:
                cases = csv_tables.describe_first_cases([patient for _, patient in shared], most=3)
                notes.append(
                    f"{len(shared)} patients ({cases}) are in {other.path} and {table.path} and count as the same "
                    "people; if these are two data sets, add a column source to each"
                )
    return notes


def _list_numbers(table: NormalizedTable) -> set[tuple[str, str]]:
    """Lists sources and patients that are plain numbers, or were before they got a prefix."""
    people = set(zip(table.rows["source"], table.rows["patient_id"], strict=True))
    own = table.table_format.id_prefix
    return {
        (source, patient)
        for source, patient in people
        if re.fullmatch(_PLAIN_NUMBER, patient.removeprefix(f"{own or source}_"))
    }


def describe_shared_images(tables: Sequence[NormalizedTable]) -> list[str]:
    """Describes images that several data sets have under the same name.

    Args:
        tables: Tables of images.

    Returns:
        One line for each group of data sets that share images.
    """
    pairs = pd.concat([table.rows[["image_name", "source"]] for table in tables]).drop_duplicates()
    shared = pairs[pairs["image_name"].duplicated(keep=False).to_numpy(bool)]
    if shared.empty:
        return []
    sources = shared.groupby("image_name")["source"].agg(" and ".join)
    return [
        f"{count} images are in {names}; each is one row, of the source that comes first"
        for names, count in sources.value_counts().items()
    ]


def list_photograph_contradictions(
    names: np.ndarray, sources: np.ndarray, verdicts: np.ndarray
) -> list[contradictions.Contradiction]:
    """Lists photographs that have different targets under several names.

    Args:
        names: Image names, objects `[n]`.
        sources: Their data sets, objects `[n]`.
        verdicts: What is sure of their targets, "0", "1" or "", objects `[n]`.

    Returns:
        The cases; each names the second row by its own name, and the first by its data set and name.
    """
    rows = pd.DataFrame({"image_name": names, "source": sources, "verdict": verdicts})
    keys = _find_shared_keys(rows)
    rows = rows.loc[keys.index].assign(key=keys)
    rows = rows[rows["verdict"] != ""]
    if rows.empty:
        return []
    first = rows.drop_duplicates("key").set_index("key").loc[rows["key"]]
    values = (first["verdict"].to_numpy(object), rows["verdict"].to_numpy(object))
    places = ((first["source"] + " as " + first["image_name"]).to_numpy(object), rows["source"].to_numpy(object))
    return contradictions.list_cases(
        "target", rows["image_name"].to_numpy(object), values, values[0] != values[1], places
    )


def _find_shared_keys(rows: pd.DataFrame) -> pd.Series:
    """Returns the keys of the photographs that stand under several names, by row."""
    names = rows["image_name"]
    if len(set(rows["source"])) < 2 and not any("downsampled" in name for name in names):
        return names[:0]
    keys = identity.image_keys(names)
    return keys[keys.duplicated(keep=False)]


def describe_shared_photographs(rows: pd.DataFrame) -> list[str]:
    """Describes photographs that stand under several names, such as `ISIC_1` and `ISIC_1_downsampled`.

    Args:
        rows: DataFrame with `image_name` and `source`.

    Returns:
        One line, or none.
    """
    keys = _find_shared_keys(rows)
    if keys.empty:
        return []
    shared = rows.loc[keys.index, "image_name"]
    cases = csv_tables.describe_first_cases(shared.tolist(), most=2)
    return [
        f"{len(shared)} rows are of {keys.nunique()} photographs under several names ({cases}); folds keep them "
        "together"
    ]
