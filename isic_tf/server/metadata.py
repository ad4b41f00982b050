"""Metadata in the form of a request: age, sex, site and numbers, as far as the run and its context model use them."""

import math
from collections.abc import Mapping, Sequence

import fastapi
import pandas as pd

from isic_tf.data import clinical_metadata
from isic_tf.data.clinical_metadata import column_values
from isic_tf.server import answers
from tfrecord_tools import schema

_LABELS = {
    "age_approx": "Age of the patient in years",
    "sex": "Sex of the patient",
    "anatom_site_general_challenge": "Site of the lesions",
}
# Of a value that is refused.
_MOST_SHOWN = 40
# The networks compute with float32.
_LARGEST = 3e38


def list_fields(metadata: str, numeric: Sequence[str]) -> list[answers.MetadataField]:
    """Lists the fields of a form besides the images.

    Args:
        metadata: What the networks use, see `clinical_metadata.parse`.
        numeric: Numeric columns that the networks and the context model use.

    Returns:
        Fields by their column names, in the order of the schema.

    Examples:
        >>> [(field.name, field.choices) for field in list_fields("age,sex", ["width_mm"])]
        [('age_approx', []), ('sex', ['male', 'female']), ('width_mm', [])]
    """
    names = [*clinical_metadata.columns(metadata), *numeric]
    return [
        answers.MetadataField(
            name=name, label=_LABELS.get(name, name), choices=list(schema.CATEGORIES.get(name, ())), **_find_range(name)
        )
        for name in names
    ]


def _find_range(name: str) -> dict[str, float]:
    return {"least": 0, "most": schema.MAX_AGE} if name == "age_approx" else {}


def encode_rows(
    rows: pd.DataFrame, fields: Sequence[answers.MetadataField], values: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Adds the values of a form to the rows of its images.

    Args:
        rows: DataFrame of the images, `[n]`.
        fields: See `list_fields`.
        values: Texts by the name of a field: one for all images, or one for each; none, or "", where unknown.

    Returns:
        The rows with the columns that `clinical_metadata.encode` reads.

    Raises:
        HTTPException: 422 for another number of values, or one that is no such category or number.

    Examples:
        >>> rows = pd.DataFrame({"image_name": ["a", "b"]})
        >>> encode_rows(rows, list_fields("sex", []), {"sex": ["female", ""]})["sex"].tolist()
        [1, -1]
    """
    columns = {}
    for field in fields:
        texts = list(values.get(field.name, ())) or [""]
        if len(texts) not in (1, len(rows)):
            raise fastapi.HTTPException(
                422, f"expected {field.name} once, or once for each of {len(rows)} images, got {len(texts)} values"
            )
        known = [_parse(field, text.strip()) for text in texts * (len(rows) // len(texts))]
        if field.name in schema.CATEGORIES or field.name == "age_approx":
            columns[field.name] = pd.Series(known, rows.index).fillna(schema.UNKNOWN).astype("int64")
        else:
            columns[column_values.PREFIX + field.name] = pd.Series(known, rows.index, dtype="float64")
    return rows.assign(**columns)


def _parse(field: answers.MetadataField, text: str) -> float | None:
    """Returns the code of a category, or a number; None where unknown."""
    if not text:
        return None
    if field.choices:
        if text in field.choices:
            return field.choices.index(text)
        expected = f"one of {', '.join(field.choices)}"
    else:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        least, most = (-_LARGEST, _LARGEST) if field.most is None else (field.least or 0, field.most)
        if least <= number <= most:
            return number
        expected = "a number" if field.most is None else f"a number from {least:g} to {most:g}"
    raise fastapi.HTTPException(
        422, f"expected {expected} as {field.name}, or nothing where it is unknown, got {text[:_MOST_SHOWN]!r}"
    )
