"""Reads the few tags of a DICOM file that a table may have, in the words of the schema, and no others."""

import itertools
import re
from collections.abc import Mapping

import pydicom

from tfrecord_tools import errors, schema
from tfrecord_tools.table_formats import values

# Units of an age, in parts of a year.
_UNITS_PER_YEAR = {"Y": 1, "M": 12, "W": 52, "D": 365}
_SITE = "anatom_site_general_challenge"
# What code meanings of anatomic regions say beside the region.
_AROUND_REGION = re.compile(r"\b(entire|structure|skin|surface|region|left|right|of|the)\b|[^a-z]+")
# Words of regions by site; the first site with a word of the text is meant, as in "palm of hand" and "back of neck".
_REGIONS = {
    "palms/soles": "palm palmar sole plantar",
    "oral/genital": "oral mouth tongue genital genitalia vulva penis scrotum perineum",
    "head/neck": "head headneck neck face scalp ear nose cheek forehead chin eyelid lip temple",
    "upper extremity": "arm forearm elbow wrist hand finger thumb shoulder upperlimb",
    "lower extremity": "leg thigh knee calf shin ankle foot toe lowerlimb",
    "torso": "trunk torso back chest abdomen thorax breast flank",
}
_DATE = re.compile(r"(\d{4})[.]?(\d{2})[.]?(\d{2})")


def read_tags(dataset: pydicom.Dataset) -> dict[str, str]:
    """Reads the tags that a table would have, and no others; literal quotes around values are removed.

    Args:
        dataset: See `dicom.read`.

    Returns:
        Dict of text, "" where unknown: `patient_id`, `sex`, `age_approx` (whole years) and
        `anatom_site_general_challenge`, in the words of the schema.

    Examples:
        >>> dataset = pydicom.Dataset()
        >>> dataset.PatientAge = "018M"
        >>> read_tags(dataset)
        {'patient_id': '', 'sex': '', 'age_approx': '1', 'anatom_site_general_challenge': ''}
    """
    regions = [*_read_regions(dataset), read_text(dataset, "BodyPartExamined")]
    return {
        "patient_id": read_text(dataset, "PatientID"),
        "sex": values.read_sex(read_text(dataset, "PatientSex")) or "",
        "age_approx": _to_years(read_text(dataset, "PatientAge")),
        _SITE: next((site for site in map(read_site, regions) if site), ""),
    }


def list_unknown_values(dataset: pydicom.Dataset, tags: Mapping[str, str]) -> list[str]:
    """Lists the values of sex and site that have no counterpart in the schema.

    Args:
        dataset: See `dicom.read`.
        tags: What `read_tags` read.

    Returns:
        Texts of the tag and its value, such as `PatientSex 'O'`.
    """
    found = [] if tags["sex"] else [("PatientSex", read_text(dataset, "PatientSex"))]
    if not tags[_SITE]:
        found += [("AnatomicRegionSequence", region) for region in _read_regions(dataset)]
        found.append(("BodyPartExamined", read_text(dataset, "BodyPartExamined")))
    return [f"{tag} {value!r}" for tag, value in found if value]


def read_lesion(dataset: pydicom.Dataset) -> tuple[str, bool]:
    """Reads which lesion an image shows.

    Args:
        dataset: See `dicom.read`.

    Returns:
        `TrackingUID`, or else `TrackingID`, or ""; and whether only the patient's lesions have it, which holds for the
        second.
    """
    unique = read_text(dataset, "TrackingUID")
    return (unique, False) if unique else (read_text(dataset, "TrackingID"), True)


def read_date(dataset: pydicom.Dataset) -> str:
    """Reads `StudyDate` as eight digits, to order a patient's visits; "" where it is unknown.

    Args:
        dataset: See `dicom.read`.
    """
    found = _DATE.fullmatch(read_text(dataset, "StudyDate"))
    return "".join(found.groups()) if found else ""


def read_text(dataset: pydicom.Dataset, tag: str) -> str:
    """Reads a tag as text, without literal quotes around it.

    Args:
        dataset: See `dicom.read`.
        tag: Keyword of the tag.

    Returns:
        Text, "" where the tag is absent or damaged.
    """
    try:
        # pydicom converts a value when it is asked for, and raises exceptions of any type on damaged ones.
        value = dataset.get(tag)
    except Exception:
        return ""
    return str(value or "").strip().strip("\"'").strip()


def read_site(region: str) -> str:
    """Returns the site of the schema that a body part or the meaning of a code is in.

    Args:
        region: Text such as `TRUNK` or `Skin of upper arm`.

    Returns:
        A site; "" where it has no counterpart.

    Examples:
        >>> [read_site(region) for region in ("Skin of upper arm", "HEADNECK", "KIDNEY")]
        ['upper extremity', 'head/neck', '']
    """
    known = values.read_site(region.casefold()) if region else ""
    if known:
        return known
    words = _AROUND_REGION.sub(" ", region.casefold()).split()
    texts = {*words, *map("".join, itertools.pairwise(words))}
    found = [site for site, regions in _REGIONS.items() if texts.intersection(regions.split())]
    return found[0] if found else ""


def _read_regions(dataset: pydicom.Dataset) -> list[str]:
    """Returns the meanings of the codes of the anatomic region."""
    try:
        return [read_text(item, "CodeMeaning") for item in dataset.get("AnatomicRegionSequence") or ()]
    except Exception:
        return []


def _to_years(age: str) -> str:
    """Converts a DICOM age, as 055Y or 018M, to whole years as text; "" where it is not one that a person can have."""
    number = age[:3]
    per_year = _UNITS_PER_YEAR.get(age[3:])
    if per_year is None or not (number.isascii() and number.isdigit()):
        return ""
    years = str(int(number) // per_year)
    try:
        schema.encode("age_approx", years)
    except errors.IsicError:
        return ""
    return years
