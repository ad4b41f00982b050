"""Describes a record set that was built or indexed."""

import dataclasses

import pandas as pd

from tfrecord_tools.io import identity


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordSet:
    """One split of a record set on disk, as `build_record_set` and `index_record_set` return it.

    Attributes:
        directory: Directory with the shards, `{split}.manifest.json` and `{split}.index.csv`.
        split: `train` or `test`.
        records: Number of records.
        shards: Paths of the shards, in order.
        skipped: Names of the images that could not be read (with `--on_error=skip`), in order of their shards.

    Examples:
        >>> found = RecordSet(directory="records", split="train", records=2071, shards=("records/train00-2071.tfrec",))
        >>> found.records, found.skipped
        (2071, ())
    """

    directory: str
    split: str
    records: int
    shards: tuple[str, ...]
    skipped: tuple[str, ...] = ()


def describe_people(index: pd.DataFrame) -> str:
    """Describes whose images a record set holds, for a log.

    Args:
        index: DataFrame of text with `patient_id` and `lesion_id`.

    Returns:
        Text such as `12 patients`, or `12 patients and unknown patients (8 records, 3 lesions)`.

    Examples:
        >>> describe_people(pd.DataFrame({"patient_id": ["P1", "p1", "-1"], "lesion_id": ["", "", "L1"]}))
        '1 patients and unknown patients (1 records, 1 lesions)'
    """
    patients = identity.person_keys(index["patient_id"])
    is_unknown = patients == ""
    num_patients = patients[~is_unknown].nunique()
    parts = [f"{num_patients} patients"] if num_patients else []
    if is_unknown.any():
        lesions = identity.person_keys(index.loc[is_unknown, "lesion_id"])
        num_lesions = lesions[lesions != ""].nunique()
        known = f", {num_lesions} lesions" if num_lesions else ""
        parts.append(f"unknown patients ({is_unknown.sum()} records{known})")
    return " and ".join(parts)
