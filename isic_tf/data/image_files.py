"""Image files instead of records: lists them with what a table says of them; `photographs` decodes them."""

import os
import typing
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import person_numbers
from isic_tf.data import clinical_metadata
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, identity, name_join


def list_files(
    directory: str,
    csv: str | None = None,
    fields: str = "",
    further_columns: Sequence[str] = (),
    allow_missing: bool = False,
) -> pd.DataFrame:
    """Lists the images of a directory in order of their names, as rows for `input_pipeline.make_eval_dataset`.

    Args:
        directory: Directories, zip archives and HDF5 files of images, separated by commas, see
            `tfrecord_tools.imaging.find_images`; a subdirectory `train` is not searched.
        csv: CSV file with `image_name`, the clinical metadata that the network uses and, where known, `patient_id` and
            `lesion_id`; None for none.
        fields: See `clinical_metadata.parse`.
        further_columns: Columns to add as codes too, where the table has them.
        allow_missing: Whether rows of the table may lack a file, and files the metadata that the network uses.

    Returns:
        DataFrame of `image_name`, `path`, `number`, `shard`, `position`, the codes of the fields and the further
        columns (int64, -1 where unknown), `patient_id` and, where the table has it, `lesion_id` (text in one spelling,
        "" where unknown).

    Raises:
        ConfigError: The network uses clinical metadata, and `csv` is None; or there are subdirectories of both splits.
        IsicError: There are no images, a name has several files, or the table lacks a column or an image, or has rows
            without a file.
    """
    # What reads tables takes a tenth of a second to import.
    from isic_tf.data import label_tables
    from tfrecord_tools.table_formats import table_files

    columns = clinical_metadata.columns(fields)
    table = table_files.read_tables(csv, ("image_name", *columns), keep_unlabeled=True) if csv else None
    found, renamed = _find_files(directory, () if table is None else table["image_name"])
    names = sorted(found)
    rows = pd.DataFrame({"image_name": names, "path": [found[name][0] for name in names]})
    rows = rows.assign(number=rows.index, position=rows.index, shard=directory)
    if columns and not csv:
        raise errors.ConfigError(
            f"the network uses {fields} as well as the image: give a table of image_name, {', '.join(columns)} as --csv"
        )
    if table is None or not csv:
        return rows.assign(patient_id="")
    matched = _match_table(rows, csv, table.assign(image_name=table["image_name"].replace(renamed)))
    _settle_differences(rows, matched, directory, csv, bool(columns), allow_missing)
    known = [name for name in further_columns if name in matched.rows]
    for column in dict.fromkeys((*columns, *known)):
        rows[column] = label_tables.encode_columns(csv, column, matched.rows[column])
    return _add_people(rows, matched.rows)


def _add_people(rows: pd.DataFrame, table: pd.DataFrame) -> pd.DataFrame:
    """Adds the patients and lesions of a table in the same order; a word for an unknown one, such as NA, is none."""
    rows = rows.assign(patient_id="")
    for column in ("patient_id", "lesion_id"):
        if column in table:
            rows[column] = person_numbers.first_spellings(table[column], identity.person_keys(table[column]))
    return rows


def is_source(text: str) -> bool:
    """Returns whether a text names directories, zip archives or HDF5 files of images, and not shards of records."""
    from tfrecord_tools.imaging import image_files

    return image_files.is_source(text)


def find_file(path: str) -> str:
    """Returns the file that holds an image: the one at its path, or the zip archive or HDF5 file that it is in."""
    from tfrecord_tools.imaging.sources import addresses

    return addresses.split(path)[0]


def _find_files(directory: str, wanted: Iterable[str]) -> tuple[dict[str, list[str]], dict[str, str]]:
    """Returns the paths by image name, and new names by those of a table that names directories, too."""
    from tfrecord_tools.imaging import image_files
    from tfrecord_tools.imaging.sources import naming

    splits: list[str] = []
    for source in image_files.split_sources(directory):
        splits = image_files.list_splits(source)
        if len(splits) > 1:
            raise errors.ConfigError(
                f"expected one directory of images, but {source} has the subdirectories "
                f"{' and '.join(splits)}; name the one to predict, such as {os.path.join(source, splits[0])}"
            )
    found, renamed = image_files.name_images(image_files.find_images(directory, "test"), directory, wanted)
    if not found:
        hint = f"name its subdirectory {splits[0]}" if splits else "check the path"
        raise errors.IsicError(f"{directory} holds no {image_files.FORMATS} files; {hint}")
    naming.refuse_repeated(found, directory)
    return found, renamed


class _Matched(typing.NamedTuple):
    """A table brought into the order of the images."""

    rows: pd.DataFrame  # text [n], "" where the table does not list an image
    is_listed: np.ndarray  # bool [n]
    without_file: pd.Series  # names that only the table holds


def _match_table(rows: pd.DataFrame, csv: str, table: pd.DataFrame) -> _Matched:
    """Looks up the images in a table by name."""
    csv_tables.refuse_repeats(csv, table, "hold")
    places = name_join.find_rows(rows["image_name"], table["image_name"], csv)
    matched = table.reindex(np.where(places < 0, len(table), places), fill_value="").reset_index(drop=True)
    without_file = table["image_name"].drop(table.index[places[places >= 0]])
    name_join.refuse_empty_join(places, rows["image_name"], table["image_name"], f"the images and the rows of {csv}")
    return _Matched(matched, places >= 0, without_file)


def _settle_differences(
    rows: pd.DataFrame, matched: _Matched, directory: str, csv: str, has_metadata: bool, allow_missing: bool
) -> None:
    """Refuses, or logs, the images that only the directory or only the table holds."""
    name_join.settle_missing(
        matched.without_file, f"images of {csv} have no file in {directory}", "add the files", allow_missing
    )
    unlisted = rows.loc[~matched.is_listed, "image_name"]
    name_join.settle_missing(
        unlisted,
        f"images of {directory} are not in {csv}",
        "add them to the table, with blanks where a value is unknown",
        # Without metadata, nothing but their patients is unknown.
        allow_missing or not has_metadata,
    )
