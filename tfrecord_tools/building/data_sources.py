"""Where the rows of a set come from: a table and image files, another set's records, or the tags of DICOM files."""

import hashlib
import logging
import os

import pandas as pd
from tqdm import tqdm

from tfrecord_tools import errors, schema
from tfrecord_tools.building import table_validation
from tfrecord_tools.imaging import codec, dicom, image_files
from tfrecord_tools.io import atomic_write, csv_tables, filesystem, record_index, tfrecord

_LOG = logging.getLogger(__name__)


def patient_codes(patient_ids):
    """Gives each patient's integer in the records: int64 `[n]` in order of first appearance, -1 where blank."""
    return pd.factorize(patient_ids.replace("", None))[0]


def code_rows(table, split):
    """Gives each row's int64 features but for the image's size: a list of dicts."""
    columns = [column for column in table_validation.CODED[split] if column in table]
    coded = {column: [schema.encode(column, value) for value in table[column]] for column in columns}
    coded["patient_id"] = patient_codes(table["patient_id"]).tolist()
    return [dict(zip(coded, values, strict=True)) for values in zip(*coded.values(), strict=True)]


def read_images(csv, folder, split):
    """Reads a table and finds its image files.

    Returns:
        DataFrame of the table's text and the columns that `shard_writer.make_jobs` reads.

    Raises:
        IsicError: All that is wrong with the table, together.
    """
    table = csv_tables.read_table(csv, ())
    paths = image_files.find_images(folder, split)
    if problems := table_validation.find_problems(table, split, paths):
        raise errors.IsicError("; ".join([f"{csv} does not fit {folder}", *problems]))
    table_validation.note_unknown_categories(table, split)
    found = [paths[name][0] for name in table["image_name"]]
    return table.assign(path=found, offset=0, length=0, integers=code_rows(table, split))


def find_records(files, split):
    """Lists the records of shards, and what they and an index beside them say, as a table of images would be.

    Args:
        files: Paths of shards of any of the public layouts.
        split: `train` or `test`; of a test record no label is read.

    Returns:
        DataFrame in file order with `image_name`, `patient_id` and `target` as text ("" where unknown), where each
        record is (`path`, `offset`, `length`), `size`: the (width, height) of its JPEG, and `integers`: a dict of those
        it has of the schema; and the entries that `index.write_manifest` takes.

    Raises:
        IsicError: A shard is damaged or of another schema, or a name comes twice.
    """
    rows, entries = [], []
    for file in tqdm(files, "records", unit="shard", disable=None):
        digest, before = hashlib.sha256(), len(rows)
        for offset, length, features in tfrecord.read(file, digest):
            integers = {name: int(features[name]) for name in tfrecord.INTEGERS if name in features}
            if split == "test":
                integers = {name: value for name, value in integers.items() if name not in ("target", "diagnosis")}
            size = (codec.jpeg_header(features["image"]) or ())[:2]
            rows.append((features["image_name"], file, offset, length, size, integers))
        counts = {"records": len(rows) - before, "bytes": filesystem.size(file)}
        entries.append({"name": os.path.basename(file), **counts, "sha256": digest.hexdigest()})
    table = pd.DataFrame(rows, columns=["image_name", "path", "offset", "length", "size", "integers"])
    csv_tables.refuse_repeats(", ".join(sorted({os.path.dirname(file) or "." for file in files})), table, "hold")

    def text(name):
        values = [integers.get(name, schema.UNKNOWN) for integers in table["integers"]]
        return [str(value) if value >= 0 else "" for value in values]

    patients = pd.Series(dict(zip(table["image_name"], text("patient_id"), strict=True)), dtype=object)
    patients.update(_indexed_patients(files, split))
    table = table.assign(patient_id=patients.reindex(table["image_name"]).to_list(), target=text("target"))
    return table, entries


def _indexed_patients(files, split):
    """Gives patients' identifiers by image name from the indexes beside shards, where there are any."""
    paths = sorted({os.path.join(os.path.dirname(file), f"{split}.index.csv") for file in files})
    found = [csv_tables.read_table(path, schema.INDEX_COLUMNS) for path in paths if filesystem.exists(path)]
    known = [table.loc[table["patient_id"] != ""].set_index("image_name")["patient_id"] for table in found]
    return pd.concat(known) if known else pd.Series(dtype=object)


def read_records(pattern, csv, split):
    """Reads the records of another set and, where there is one, the table that says more of them.

    Without a table the records' own integers stay. A table wins over them, but for the original's width and height.

    Returns:
        As `read_images`, for the records alone; patients are numbered by the whole table.

    Raises:
        IsicError: All that is wrong with the table, together; or see `find_records`.
    """
    found, _ = find_records(record_index.match_shards(pattern), split)
    if not csv:
        if split == "train" and (found["target"] == "").any():
            names = found.loc[found["target"] == "", "image_name"].tolist()
            raise errors.IsicError(
                f"{len(names)} records carry no target: {csv_tables.describe_first_cases(names)}; give --csv"
            )
        return found
    table = csv_tables.read_table(csv, ())
    problems = table_validation.find_problems(table, split, {name: [""] for name in table.get("image_name", ())})
    if "image_name" in table and (unlisted := sorted(set(found["image_name"]) - set(table["image_name"]))):
        problems.append(
            f"{len(unlisted)} records that the table does not list: {csv_tables.describe_first_cases(unlisted)}"
        )
    if problems:
        raise errors.IsicError("; ".join([f"{csv} does not fit {pattern}", *problems]))
    table_validation.note_unknown_categories(table, split)
    table["coded"] = code_rows(table, split)
    if absent := len(table) - len(found):
        _LOG.info(f"note: {absent} rows of {csv} have no record and are left out")
    places = found[["image_name", "path", "offset", "length", "integers"]]
    rows = table.merge(places, on="image_name", validate="one_to_one")
    sizes = [{k: v for k, v in own.items() if k in ("width", "height")} for own in rows["integers"]]
    return rows.assign(integers=[coded | size for coded, size in zip(rows["coded"], sizes, strict=True)])


def write_tags(folder, split, output):
    """Writes a table of what the DICOM files of a split say of themselves; patients' own identifiers stay in it.

    Raises:
        IsicError: There are no DICOM files, or one is damaged.
    """
    rows = []
    found = {name: paths[0] for name, paths in image_files.find_images(folder, split).items()}
    for name, path in tqdm(sorted(found.items()), "tags", unit="image", disable=None):
        data = filesystem.read(path)
        if image_files.is_dicom(path, data):
            tags = dicom.read_tags(dicom.read(data, path))
            # The public data repeats the image's name there, which would make each image a patient.
            tags["patient_id"] = "" if tags["patient_id"] == name else tags["patient_id"]
            rows.append({"image_name": name, **tags})
    if not rows:
        raise errors.IsicError(f"expected DICOM files in {folder}, found {len(found)} images and none of them DICOM")
    table = pd.DataFrame(rows)
    if split == "train":
        table["target"] = ""
    atomic_write.write_text(output, table.to_csv(index=False))
    known = ", ".join(f"{(table[column] != '').sum()} with {column}" for column in list(table)[1:])
    _LOG.info(f"{len(table)} images in {output}: {known}")
