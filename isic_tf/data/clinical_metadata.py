"""What is known of the patient and the place, as numbers for the network.

Never the size of image or file: cameras differ between clinics that saw melanomas and those that did not, so that size
tells the label here (6000x4000 is 0.2 % malignant, 4032x3024 18 %) and nothing elsewhere.
"""

import numpy as np

from tfrecord_tools import errors, schema

FIELDS = {"age": "age_approx", "sex": "sex", "site": "anatom_site_general_challenge"}
_LEAKS = ("width", "height", "size", "image_size", "file_size", "bytes")
# Years, about the middle and spread of the competition's patients.
_MIDDLE, _SPREAD = 50.0, 15.0


def parse(text):
    """Reads `--metadata`.

    Args:
        text: Fields separated by commas, or "".

    Returns:
        Tuple of fields, in the order of `FIELDS`.

    Raises:
        IsicError: A field is none of `FIELDS`.
    """
    given = [part.strip() for part in text.split(",") if part.strip()]
    for name in given:
        if name in _LEAKS:
            raise errors.IsicError(
                f"--metadata={name} is refused: the size of image or file leaks the label in this data"
            )
        if name not in FIELDS:
            raise errors.IsicError(f"expected --metadata to be some of {','.join(FIELDS)}, got {name!r}")
    return tuple(name for name in FIELDS if name in given)


def columns(text):
    """Lists the schema's columns that a flag's fields need."""
    return [FIELDS[name] for name in parse(text)]


def width(text):
    """Counts the numbers that `encode` gives for an image."""
    return sum(2 if name == "age" else len(schema.CATEGORIES[FIELDS[name]]) + 1 for name in parse(text))


def encode(rows, text):
    """Turns a table's codes into the network's input.

    Args:
        rows: DataFrame with the columns that `columns` lists, -1 where unknown.
        text: See `parse`.

    Returns:
        float32 `[n, width]`: the age, centred and scaled, and 1 where it is unknown; a column for each category of sex
        and site, the last for unknown ones. The layer that follows so learns a vector for each category and for what
        is unknown.
    """
    parts = [np.zeros((len(rows), 0), np.float32)]
    for name in parse(text):
        codes = rows[FIELDS[name]].to_numpy()
        if name == "age":
            unknown = codes == schema.UNKNOWN
            parts.append(np.stack([np.where(unknown, 0, (codes - _MIDDLE) / _SPREAD), unknown], axis=1))
        else:
            # A code of -1 is the last row.
            parts.append(np.eye(len(schema.CATEGORIES[FIELDS[name]]) + 1)[codes])
    return np.concatenate(parts, axis=1).astype(np.float32)
