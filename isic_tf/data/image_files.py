"""Image files instead of records: lists them, and decodes them as the records of a run were made."""

import concurrent.futures
import contextlib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata, preprocessing_config, record_loading
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)


def list_files(directory: str, csv: str | None, fields: str) -> pd.DataFrame:
    """Lists the images of a directory in order of their names, as rows for `input_pipeline.make_eval_dataset`.

    Args:
        directory: Directory of JPEG, PNG or DICOM files, or one with a subdirectory `test` of such files.
        csv: CSV file with `image_name` and the clinical metadata that the network uses; None if it uses none.
        fields: See `clinical_metadata.parse`.

    Returns:
        DataFrame of `image_name`, `path`, `number`, `shard`, `position` and the codes of the fields, -1 where unknown.

    Raises:
        ConfigError: The network uses clinical metadata, and `csv` is None.
        IsicError: There are no images, a name has several files, or the table lacks a column or an image.
    """
    from tfrecord_tools.imaging import image_files

    found = image_files.find_images(directory, "test")
    if not found:
        raise errors.IsicError(f"{directory} holds no JPEG, PNG or DICOM files; check --images")
    repeated = sorted(name for name, paths in found.items() if len(paths) > 1)
    if repeated:
        raise errors.IsicError(
            f"expected one file per image in {directory}, {len(repeated)} images have more (first: {repeated[0]}); "
            "remove or rename the other files"
        )
    names = sorted(found)
    rows = pd.DataFrame({"image_name": names, "path": [found[name][0] for name in names]})
    rows = rows.assign(number=rows.index, position=rows.index, shard=directory)
    columns = clinical_metadata.columns(fields)
    if not columns:
        return rows
    if not csv:
        raise errors.ConfigError(
            f"the network uses {fields} as well as the image: give a table of image_name, {', '.join(columns)} as --csv"
        )
    return _add_codes(rows, directory, csv, columns)


def _add_codes(rows: pd.DataFrame, directory: str, csv: str, columns: Sequence[str]) -> pd.DataFrame:
    """Adds columns of a table to rows of images, as codes; every image must be in the table."""
    table = csv_tables.read_table(csv, ("image_name", *columns))
    csv_tables.refuse_repeats(csv, table, "hold")
    missing = rows.loc[~rows["image_name"].isin(table["image_name"]), "image_name"]
    if len(missing):
        raise errors.IsicError(
            f"{len(missing)} images of {directory} are not in {csv} (first: {missing.iloc[0]}); add them to the table, "
            "with blanks where a value is unknown"
        )
    rows = rows.merge(table[["image_name", *columns]], on="image_name", validate="one_to_one")
    for column in columns:
        rows[column] = [schema.encode(column, value) for value in rows[column]]
    return rows


def add_patients(rows: pd.DataFrame, csv: str | None, columns: Sequence[str] = ()) -> pd.DataFrame:
    """Adds the patients of images from a table, where it lists them.

    Args:
        rows: See `list_files`.
        csv: CSV file with `image_name` and optionally `patient_id`, or None.
        columns: Further columns to add as codes, where the table has them and the rows do not.

    Returns:
        The rows with `patient_id` (text, "" where unknown) and these columns (int64, -1 where unknown).

    Raises:
        IsicError: The table is damaged or lists an image twice.
    """
    if not csv:
        return rows.assign(patient_id="")
    table = csv_tables.read_table(csv, ("image_name",))
    csv_tables.refuse_repeats(csv, table, "hold")
    matched = table.set_index("image_name").reindex(rows["image_name"]).fillna("").reset_index()
    rows = rows.assign(patient_id=matched.get("patient_id", ""))
    for column in columns:
        if column in matched and column not in rows:
            rows[column] = [schema.encode(column, value) for value in matched[column]]
    return rows


@contextlib.contextmanager
def open_reader(
    rows: pd.DataFrame, image_size: int, run: Mapping[str, str], threads: int
) -> Iterator[record_loading.ImageReader]:
    """Opens a function that decodes image files, several at once, as the records of a run were made.

    Logs the preprocessing options that are unknown, and what is assumed for them.

    Args:
        rows: See `list_files`.
        image_size: Side S in pixels.
        run: Dict of the run's options as text, see `run_directory.read_flags`.
        threads: Images decoded at once.

    Yields:
        Function from numbers (int64 `[b]`, the column `number`) to images (uint8 `[b, S, S, 3]`), for
        `input_pipeline.make_eval_dataset`.

    Raises:
        IsicError: A file that is read inside the block, by the function or by a dataset that calls it, cannot be read
            or decoded; the message names it.
    """
    from tfrecord_tools.imaging import image_files

    options = {"image_size": image_size, **_choose_preprocessing(run)}
    paths = rows["path"].tolist()
    failures = []

    def decode(number: int) -> np.ndarray:
        try:
            return image_files.prepare_image(paths[number], options)
        except Exception as error:
            failures.append(error)
            raise

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            yield lambda numbers: np.stack(list(pool.map(decode, numbers)))
        except Exception as error:
            if not failures:
                raise
            # A dataset turns it into many lines of TensorFlow's own.
            raise errors.IsicError(str(failures[0])) from error


def _choose_preprocessing(run: Mapping[str, str]) -> dict[str, Any]:
    """Returns the preprocessing options of a run's records; logs those that are assumed."""
    known = preprocessing_config.find_preprocessing(run)
    assumed = {name: value for name, value in preprocessing_config.DEFAULTS.items() if name not in known}
    if assumed:
        texts = [f"{name}={value}" for name, value in assumed.items()]
        _LOG.warning(f"note: the preprocessing of the run's records is unknown; image files use {', '.join(texts)}")
    options = {**assumed, **known}
    return {**options, "trim_border": str(options["trim_border"]) == "True"}
