"""Image files in place of records: found, and decoded as the records of a run were made."""

import concurrent.futures
import contextlib
import logging

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata, preprocessing_config
from tfrecord_tools import errors, schema
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)


def list_files(folder, csv, fields):
    """Lists the images of a folder in order of name, as rows for `input_pipeline.make_eval_dataset`.

    Args:
        folder: Folder of JPEG, PNG or DICOM files, or of a folder `test` of them.
        csv: CSV file with `image_name` and what the network sees of the patient, or None.
        fields: See `clinical_metadata.parse`.

    Returns:
        DataFrame of `image_name`, `path`, `number`, `shard`, `position` and the fields' codes, -1 where unknown.

    Raises:
        IsicError: There are no images, a name has two files, or the table lacks a column or an image.
    """
    from tfrecord_tools.imaging import image_files

    found = image_files.find_images(folder, "test")
    double = sorted(name for name, paths in found.items() if len(paths) > 1)
    if double:
        raise errors.IsicError(
            f"expected one file for each image in {folder}, {len(double)} have more, {double[0]} first"
        )
    if not found:
        raise errors.IsicError(f"expected JPEG, PNG or DICOM files in {folder}, found none; check --images")
    names = sorted(found)
    rows = pd.DataFrame({"image_name": names, "path": [found[name][0] for name in names]})
    rows = rows.assign(number=rows.index, position=rows.index, shard=folder)
    columns = clinical_metadata.columns(fields)
    if not columns:
        return rows
    if not csv:
        raise errors.IsicError(f"the run sees {fields} beside the image: give a table of {', '.join(columns)} as --csv")
    table = csv_tables.read_table(csv, ("image_name", *columns))
    csv_tables.refuse_repeats(csv, table, "hold")
    missing = rows.loc[~rows["image_name"].isin(table["image_name"]), "image_name"]
    if len(missing):
        raise errors.IsicError(f"{len(missing)} images of {folder} are not in {csv}, {missing.iloc[0]} first")
    rows = rows.merge(table[["image_name", *columns]], on="image_name", validate="one_to_one")
    for column in columns:
        rows[column] = [schema.encode(column, value) for value in rows[column]]
    return rows


def add_patients(rows, csv, columns=()):
    """Adds whose images they are to rows of `list_files`, as far as a table tells.

    Args:
        rows: See `list_files`.
        csv: CSV file with `image_name` and perhaps `patient_id`, or None.
        columns: Further columns to add, as codes, where the table has them and the rows do not.

    Returns:
        The rows with `patient_id` (text, "" where unknown) and such columns (int64, -1 where unknown).

    Raises:
        IsicError: The table is damaged or holds an image twice.
    """
    if not csv:
        return rows.assign(patient_id="")
    table = csv_tables.read_table(csv, ("image_name",))
    csv_tables.refuse_repeats(csv, table, "hold")
    own = table.set_index("image_name").reindex(rows["image_name"]).fillna("").reset_index()
    rows = rows.assign(patient_id=own.get("patient_id", ""))
    for column in [name for name in columns if name in own and name not in rows]:
        rows[column] = [schema.encode(column, value) for value in own[column]]
    return rows


@contextlib.contextmanager
def open_reader(rows, image_size, run, threads):
    """Yields the function that decodes image files, several at once; says what is not known of the records' making.

    Args:
        rows: See `list_files`.
        image_size: Side S in pixels.
        run: Dict of the run's flags as text, see `run_directory.read_flags`.
        threads: Images decoded at once.

    Yields:
        Function from numbers (int64 `[b]`) to images (uint8 `[b, S, S, 3]`).

    Raises:
        IsicError: A file that was asked for inside the block, by the function or a dataset that calls it, cannot be
            read or decoded; it is named.
    """
    from tfrecord_tools.imaging import image_files

    known, failed = preprocessing_config.find_preprocessing(run), []
    assumed = [f"{name}={value}" for name, value in preprocessing_config._PREPROCESSING.items() if name not in known]
    if assumed:
        _LOG.info(
            f"note: nothing tells how the run's records were made; image files are taken with {', '.join(assumed)}"
        )
    options = {"image_size": image_size, **preprocessing_config._PREPROCESSING, **known}
    options["trim_border"] = str(options["trim_border"]) == "True"
    paths = rows["path"].tolist()

    def decode(number):
        try:
            return image_files.prepare_image(paths[number], options)
        except Exception as error:
            failed.append(error)
            raise

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        try:
            yield lambda numbers: np.stack(list(pool.map(decode, numbers)))
        except Exception as error:
            if not failed:
                raise
            # What a dataset makes of it is many lines of TensorFlow's own.
            raise errors.IsicError(str(failed[0])) from error
