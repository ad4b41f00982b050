"""Writes a table from the tags of DICOM files."""

import logging
import os

import pandas as pd
from tqdm import tqdm

from tfrecord_tools import errors, schema
from tfrecord_tools.imaging import dicom, image_files
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, filesystem

_LOG = logging.getLogger(__name__)


def write_tag_table(images: str, split: str, output: str) -> pd.DataFrame:
    """Writes a table of the tags of a split's DICOM files; patient IDs are copied as they are.

    Args:
        images: Directory of the files, or of a subdirectory of them named like the split.
        split: `train` or `test`.
        output: CSV file to write.

    Returns:
        DataFrame of text, "" if unknown, ordered by `image_name`: `image_name`, `patient_id`, `sex`, `age_approx`,
        `anatom_site_general_challenge` and, in a training split, a blank `target` to fill in.

    Raises:
        CorruptRecordError: A DICOM file is damaged.
        IsicError: There are no DICOM files.

    Examples:
        >>> write_tag_table("dicom", "test", "test.csv")  # doctest: +SKIP
    """
    found = image_files.find_images(images, split)
    rows = []
    impossible_ages = []
    for name in tqdm(sorted(found), "tags", unit="image", disable=None):
        path = found[name][0]
        data = filesystem.read(path)
        if image_files.is_dicom(path, data):
            dataset = dicom.read(data, path)
            tags = dicom.read_tags(dataset)
            age = dicom.read_text(dataset, "PatientAge")
            if age and not tags["age_approx"]:
                impossible_ages.append(f"{os.path.basename(path)}: {age}")
            # The public data repeats the image name there, which would make each image a separate patient.
            if tags["patient_id"] == name:
                tags["patient_id"] = ""
            rows.append({"image_name": name, **tags})
    if not rows:
        raise errors.IsicError(
            f"expected DICOM files in {images}, got {len(found)} images of other formats; check --images"
        )
    if impossible_ages:
        _LOG.warning(
            f"note: {len(impossible_ages)} values of PatientAge are not an age from 0 to {schema.MAX_AGE} years and "
            f"are left blank: {csv_tables.describe_first_cases(impossible_ages)}"
        )
    table = pd.DataFrame(rows)
    if split == "train":
        table["target"] = ""
    atomic_write.write_text(output, csv_output.format_table(table))
    known = ", ".join(f"{(table[column] != '').sum()} with {column}" for column in list(table)[1:])
    _LOG.info(f"{len(table)} images in {output}: {known}")
    return table
