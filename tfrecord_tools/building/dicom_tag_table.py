"""Writes a table from the tags of DICOM files."""

import collections
import logging
import os
import re
from collections.abc import Mapping, Sequence

import pandas as pd
import pydicom
from tqdm import tqdm

from tfrecord_tools import errors, schema
from tfrecord_tools.building import dicom_rows, pseudonyms
from tfrecord_tools.imaging import dicom, image_files
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.imaging.sources import naming
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, identity

_LOG = logging.getLogger(__name__)

# Columns of the table that are left out where all their values are unknown.
_OPTIONAL = ("lesion_id", "visit")
# Parts of identifiers that are too short to be recognized in the name of a file.
_SHORTEST_PART = 3
_SHORTEST_SUBSTRING = 5
# Values without a counterpart that a note lists.
_MOST_LISTED = 10
# Not written; the name of a patient is only looked for in the name of the file.
_DATE = "study_date"
_PARTS = "identifying_parts"


def write_tag_table(
    images: str,
    split: str,
    output: str,
    key_file: str | None = None,
    limits: image_limits.ImageLimits = image_limits.DEFAULTS,
) -> pd.DataFrame:
    """Writes a table of the tags of a split's DICOM files.

    Args:
        images: Directories and containers of the files, see `image_files.find_images`.
        split: `train` or `test`.
        output: CSV file to write.
        key_file: File with the key of pseudonyms, which replace patients and lesions; without one these are copied as
            they are.
        limits: What reading a file may take.

    Returns:
        DataFrame of text, "" if unknown, ordered by `image_name`: `image_name`, `patient_id`, `sex`, `age_approx`,
        `anatom_site_general_challenge`, where files state them `lesion_id` and `visit` (1, 2, ... in order of a
        patient's study dates, which are not written), and in a training split a blank `target` to fill in.

    Raises:
        ConfigError: The key file is missing, too short, or the file to write; or the output exists with other content.
        CorruptRecordError: A DICOM file is damaged.
        IsicError: There are no DICOM files, or a name has several.

    Examples:
        >>> write_tag_table("dicom", "test", "test.csv")  # doctest: +SKIP
    """
    key = _read_key(key_file, output)
    found, _ = image_files.name_images(image_files.find_images(images, split), images)
    naming.refuse_repeated(found, images)
    rows = _read_rows(found, limits)
    if not rows:
        raise errors.IsicError(
            f"expected DICOM files in {images}, got {len(found)} images of other formats; check --images"
        )
    table = pd.DataFrame(rows)
    table["visit"] = _number_visits(table)
    if key is not None:
        _log_identifying_names(table)
        for column, kind in (("patient_id", "patient"), ("lesion_id", "lesion")):
            # A zero that stands for an unknown patient must get no code.
            known = table[column].mask(identity.person_keys(table[column]) == "", "")
            table[column] = [pseudonyms.make_code(key, kind, text) for text in known]
    elif (table["patient_id"] != "").any():
        _LOG.warning(
            "note: patient_id is PatientID as the files have it; --pseudonyms=KEYFILE writes codes in place of "
            "patients and lesions"
        )
    table = table.drop(columns=[_DATE, _PARTS])
    table = table.drop(columns=[column for column in _OPTIONAL if (table[column] == "").all()])
    if split == "train":
        table["target"] = ""
    text = csv_output.format_table(table)
    # It may have been corrected by hand.
    atomic_write.refuse_other_content(output, text)
    atomic_write.write_text(output, text)
    known = ", ".join(f"{(table[column] != '').sum()} with {column}" for column in list(table)[1:])
    _LOG.info(f"{len(table)} images in {output}: {known}")
    return table


def _read_key(key_file: str | None, output: str) -> bytes | None:
    if not key_file:
        return None
    if os.path.realpath(key_file) == os.path.realpath(output):
        raise errors.ConfigError(f"--csv_from_dicom and --pseudonyms are both {output}, expected two files; rename one")
    return pseudonyms.read_key(key_file)


def _read_rows(found: Mapping[str, Sequence[str]], limits: image_limits.ImageLimits) -> list[dict[str, str]]:
    """Reads the rows of the DICOM files that have an image; logs which have none, and ages that nobody has."""
    rows = []
    impossible_ages = []
    without_image = []
    unknown: collections.Counter[str] = collections.Counter()
    for name in tqdm(sorted(found), "tags", unit="image", disable=None):
        path = found[name][0]
        data = image_files.read_file(path, limits)
        if not image_files.is_dicom(path, data):
            continue
        dataset = dicom.read(data, path, limits)
        if "PixelData" not in dataset:
            without_image.append(os.path.basename(path))
            continue
        row = _read_row(dataset, name)
        unknown.update(dicom_rows.list_unknown_values(dataset, row))
        age = dicom_rows.read_text(dataset, "PatientAge")
        if age and not row["age_approx"]:
            impossible_ages.append(f"{os.path.basename(path)}: {age}")
        rows.append(row)
    if without_image:
        _LOG.warning(
            f"note: {len(without_image)} DICOM files hold no image, such as reports, and are left out: "
            f"{csv_tables.describe_first_cases(without_image)}"
        )
    if unknown:
        cases = ", ".join(f"{value} ({count})" for value, count in unknown.most_common(_MOST_LISTED))
        _LOG.warning(
            f"note: {unknown.total()} values of sex and site have no counterpart in the table and are left blank: "
            f"{cases}{f' and {len(unknown) - _MOST_LISTED} more' if len(unknown) > _MOST_LISTED else ''}"
        )
    if impossible_ages:
        _LOG.warning(
            f"note: {len(impossible_ages)} values of PatientAge are not an age from 0 to {schema.MAX_AGE} years and "
            f"are left blank: {csv_tables.describe_first_cases(impossible_ages)}"
        )
    return rows


def _read_row(dataset: pydicom.Dataset, name: str) -> dict[str, str]:
    tags = dicom_rows.read_tags(dataset)
    patient = tags["patient_id"]
    lesion, is_of_patient = dicom_rows.read_lesion(dataset)
    # The public data repeats the image name there, which would make each image a separate patient.
    if patient == name:
        tags["patient_id"] = ""
    if is_of_patient and lesion:
        lesion = f"{tags['patient_id']}_{lesion}" if identity.person_key(tags["patient_id"]) else ""
    parts = " ".join((patient, dicom_rows.read_text(dataset, "PatientName")))
    return {
        "image_name": name,
        **tags,
        "lesion_id": lesion,
        _DATE: dicom_rows.read_date(dataset),
        _PARTS: parts,
    }


def _number_visits(table: pd.DataFrame) -> list[str]:
    """Numbers the study dates of each patient; "" where the patient or the date is unknown."""
    patients = identity.person_keys(table["patient_id"])
    dates: dict[str, set[str]] = {}
    for patient, date in zip(patients, table[_DATE], strict=True):
        if patient and date:
            dates.setdefault(patient, set()).add(date)
    order = {patient: sorted(known) for patient, known in dates.items()}
    return [
        str(1 + order[patient].index(date)) if patient and date else ""
        for patient, date in zip(patients, table[_DATE], strict=True)
    ]


def _log_identifying_names(table: pd.DataFrame) -> None:
    """Logs which image names hold the ID or a part of the name of the patient; records keep image names."""
    names = [name for name, parts in zip(table["image_name"], table[_PARTS], strict=True) if _identifies(name, parts)]
    if names:
        _LOG.warning(
            f"note: {len(names)} names of files or their directories hold the ID or name of the patient, and image "
            f"names are part of records (first: {names[0]}); rename the files, then run the command again"
        )


def _identifies(name: str, parts: str) -> bool:
    """Returns whether the name of a file holds a part of a patient's ID or name."""
    folded = name.casefold()
    words = set(re.split(r"[\W_]+", folded))
    identifying = [part for part in re.split(r"[\s^=,]+", parts.casefold()) if len(part) >= _SHORTEST_PART]
    return any(part in words or (len(part) >= _SHORTEST_SUBSTRING and part in folded) for part in identifying)
