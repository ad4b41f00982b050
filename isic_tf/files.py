"""Image files in place of records: found, and decoded as the records of a run were made."""

import concurrent.futures
import contextlib
import json
import os

import numpy as np
import pandas as pd

from isic_tf import metadata
from tfrecord_tools import schema, storage

# What is assumed of the making of a record set's images where its manifest does not tell.
_PREPARATION = {"resize": "stretch", "trim_border": False, "color_constancy": "none"}


def read_preparation(data_dir):
    """Reads how the images of a record set were made, so that image files can be treated alike.

    Args:
        data_dir: Folder of a record set.

    Returns:
        Dict of `resize`, `trim_border` and `color_constancy`; empty where no manifest tells.
    """
    path = os.path.join(data_dir, "train.manifest.json")
    if not storage.exists(path):
        return {}
    manifest = json.loads(storage.read(path))
    return {name: manifest[name] for name in _PREPARATION if manifest.get(name) is not None}


def find_preparation(run):
    """Gives how a run's records were made as far as the run, or else their manifest, tells.

    Args:
        run: Dict of the run's flags as text, see `runs.read_flags`.

    Returns:
        See `read_preparation`.
    """
    known = {name: run[name] for name in _PREPARATION if name in run}
    # Runs from before they kept it: where their records still lie.
    return known or read_preparation(run.get("data_dir", "").split(",")[0])


def list_files(folder, csv, fields):
    """Lists the images of a folder in order of name, as rows for `pipeline.eval_dataset`.

    Args:
        folder: Folder of JPEG, PNG or DICOM files, or of a folder `test` of them.
        csv: CSV file with `image_name` and what the network sees of the patient, or None.
        fields: See `metadata.parse`.

    Returns:
        DataFrame of `image_name`, `path`, `number`, `shard`, `position` and the fields' codes, -1 where unknown.

    Raises:
        ValueError: There are no images, a name has two files, or the table lacks a column or an image.
    """
    from tfrecord_tools import tables

    found = tables.find_images(folder, "test")
    double = sorted(name for name, paths in found.items() if len(paths) > 1)
    if double:
        raise ValueError(f"expected one file for each image in {folder}, {len(double)} have more, {double[0]} first")
    if not found:
        raise ValueError(f"expected JPEG, PNG or DICOM files in {folder}, found none; check --images")
    names = sorted(found)
    rows = pd.DataFrame({"image_name": names, "path": [found[name][0] for name in names]})
    rows = rows.assign(number=rows.index, position=rows.index, shard=folder)
    columns = metadata.columns(fields)
    if not columns:
        return rows
    if not csv:
        raise ValueError(f"the run sees {fields} beside the image: give a table of {', '.join(columns)} as --csv")
    table = schema.read_table(csv, ("image_name", *columns))
    schema.refuse_repeats(csv, table, "hold")
    missing = rows.loc[~rows["image_name"].isin(table["image_name"]), "image_name"]
    if len(missing):
        raise ValueError(f"{len(missing)} images of {folder} are not in {csv}, {missing.iloc[0]} first")
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
        ValueError: The table is damaged or holds an image twice.
    """
    if not csv:
        return rows.assign(patient_id="")
    table = schema.read_table(csv, ("image_name",))
    schema.refuse_repeats(csv, table, "hold")
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
        run: Dict of the run's flags as text, see `runs.read_flags`.
        threads: Images decoded at once.

    Yields:
        Function from numbers (int64 `[b]`) to images (uint8 `[b, S, S, 3]`).

    Raises:
        ValueError: A file that was asked for inside the block, by the function or a dataset that calls it, cannot be
            read or decoded; it is named.
    """
    from tfrecord_tools import convert

    known, failed = find_preparation(run), []
    assumed = [f"{name}={value}" for name, value in _PREPARATION.items() if name not in known]
    if assumed:
        print(f"note: nothing tells how the run's records were made; image files are taken with {', '.join(assumed)}")
    options = {"image_size": image_size, **_PREPARATION, **known}
    options["trim_border"] = str(options["trim_border"]) == "True"
    paths = rows["path"].tolist()

    def decode(number):
        try:
            return convert.to_square(paths[number], options)
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
            raise ValueError(str(failed[0])) from error
