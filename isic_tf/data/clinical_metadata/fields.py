"""Metadata of the patient, the lesion site and the lesion, encoded as numbers for the network.

Image size and file size are never used: cameras differ between clinics that contributed melanomas and those that did
not, so that in this data the size predicts the label (0.2 % of 6000x4000 images are malignant, 18 % of 4032x3024 ones),
and in other data it does not.
"""

import logging

import numpy as np
import pandas as pd

from isic_tf.data.clinical_metadata import column_values, numeric_columns
from tfrecord_tools import errors, schema

_LOG = logging.getLogger(__name__)

FIELDS = numeric_columns.RECORD_FIELDS
# In years, approximately the mean and the standard deviation of the competition's patients.
_MEAN_AGE = 50.0
_AGE_SPREAD = 15.0


def parse(text: str) -> tuple[str, ...]:
    """Parses the option `--metadata`.

    Args:
        text: Fields separated by commas, or "": those of `FIELDS`, and names of numeric columns of a table.

    Returns:
        The fields in the order of `FIELDS`; for the others see `parse_numeric`.

    Raises:
        ConfigError: See `parse_numeric`.

    Examples:
        >>> parse("sex,tbp_lv_areaMM2,age")
        ('age', 'sex')
    """
    numeric_columns.parse_numeric(text)
    given = [part.strip() for part in text.split(",")]
    return tuple(name for name in FIELDS if name in given)


def columns(text: str) -> list[str]:
    """Returns the columns of the schema that the fields of `--metadata` need.

    Args:
        text: See `parse`.

    Returns:
        Column names, in the order of `FIELDS`; numeric columns are not part of the schema.

    Examples:
        >>> columns("sex,tbp_lv_areaMM2,age")
        ['age_approx', 'sex']
    """
    return [FIELDS[name] for name in parse(text)]


def width(text: str) -> int:
    """Returns the number of inputs per image that `encode` computes.

    Args:
        text: See `parse`.

    Returns:
        0 or more: 2 for the age and for each numeric column, and for sex and site the number of categories and one for
        unknown.

    Examples:
        >>> width("age"), width("age,tbp_lv_areaMM2,tbp_lv_H")
        (2, 6)
    """
    fields = sum(2 if name == "age" else _count_categories(name) + 1 for name in parse(text))
    return fields + 2 * len(numeric_columns.parse_numeric(text))


def _count_categories(name: str) -> int:
    return len(schema.CATEGORIES[FIELDS[name]])


def check_known(rows: pd.DataFrame, text: str) -> None:
    """Checks that every field is known for some images; logs for how many fields and numeric columns are not.

    Args:
        rows: See `encode`.
        text: See `parse`.

    Raises:
        ConfigError: A field is unknown in every row, so that nothing can be learned from it. For numeric columns, see
            `compute_standards`.

    Examples:
        >>> check_known(pd.DataFrame({"sex": [0, 1]}), "sex")
    """
    counts = _count_unknown(rows, text)
    useless = [name for name, count in counts.items() if name in FIELDS and count == len(rows)]
    if useless and len(rows):
        raise errors.ConfigError(
            f"--metadata={','.join(useless)} needs {', '.join(FIELDS[name] for name in useless)}, unknown in all "
            f"{len(rows)} records; omit it, or rebuild the records with a table that has it: tfrecord_tools.build "
            "--records --csv"
        )
    log_unknown(rows, text)


def log_unknown(rows: pd.DataFrame, text: str) -> None:
    """Logs for how many images the fields and numeric columns are unknown.

    Args:
        rows: See `encode`.
        text: See `parse`.

    Examples:
        >>> log_unknown(pd.DataFrame({"sex": [0, 1]}), "sex")
    """
    counts = _count_unknown(rows, text)
    parts = [f"{name} of {count} ({count / len(rows):.1%})" for name, count in counts.items() if count]
    if parts:
        _LOG.warning(f"note: unknown metadata of {len(rows)} images: {', '.join(parts)}")


def _count_unknown(rows: pd.DataFrame, text: str) -> dict[str, int]:
    found = {name: int((rows[FIELDS[name]] == schema.UNKNOWN).sum()) for name in parse(text)}
    names = numeric_columns.parse_numeric(text)
    unknown = np.isnan(column_values.select_values(rows, names)).sum(axis=0)
    return {**found, **dict(zip(names, map(int, unknown), strict=True))}


def encode(rows: pd.DataFrame, text: str) -> np.ndarray:
    """Encodes the metadata of images as inputs of the network.

    The age is centered and scaled, with a second input that is 1 where it is unknown. Sex and site are one-hot, the
    last input for unknown: the dense layer that follows learns an embedding for each category, and for unknown. Last
    come the numeric columns, first their values as they are in the table (0 where unknown), then for each column 1
    where it is unknown and else 0; the network standardizes them, see `isic_tf.models.standardization`.

    Args:
        rows: DataFrame of n images with the columns that `columns` returns, -1 where unknown; the age in years; and
            with the values that `add_values` adds.
        text: See `parse`.

    Returns:
        float32 `[n, width(text)]`.

    Examples:
        >>> encode(pd.DataFrame({"age_approx": [65, -1], "numeric:area": [7.5, np.nan]}), "age,area").tolist()
        [[1.0, 0.0, 7.5, 0.0], [0.0, 1.0, 0.0, 1.0]]
    """
    encoded = [np.zeros((len(rows), 0), np.float32)]
    for name in parse(text):
        codes = rows[FIELDS[name]].to_numpy()
        if name == "age":
            unknown = codes == schema.UNKNOWN
            scaled = np.where(unknown, 0, (codes - _MEAN_AGE) / _AGE_SPREAD)
            encoded.append(np.stack([scaled, unknown], axis=1))
        else:
            # The code -1 selects the last row.
            encoded.append(np.eye(_count_categories(name) + 1)[codes])
    values = column_values.select_values(rows, numeric_columns.parse_numeric(text))
    encoded += [np.nan_to_num(values), np.isnan(values)]
    return np.concatenate(encoded, axis=1).astype(np.float32)
