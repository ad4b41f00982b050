"""Clinical metadata of the patient and the lesion site, encoded as numbers for the network.

Image size and file size are never used: cameras differ between clinics that contributed melanomas and those that did
not, so that in this data the size predicts the label (0.2 % of 6000x4000 images are malignant, 18 % of 4032x3024 ones),
and in other data it does not.
"""

import logging

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema

_LOG = logging.getLogger(__name__)

FIELDS = {"age": "age_approx", "sex": "sex", "site": "anatom_site_general_challenge"}
_LEAKS = ("width", "height", "size", "image_size", "file_size", "bytes")
# In years, approximately the mean and the standard deviation of the competition's patients.
_MEAN_AGE = 50.0
_AGE_SPREAD = 15.0


def parse(text: str) -> tuple[str, ...]:
    """Parses the option `--metadata`.

    Args:
        text: Fields separated by commas, or "".

    Returns:
        The fields in the order of `FIELDS`.

    Raises:
        ConfigError: A field is not one of `FIELDS`.
    """
    given = [part.strip() for part in text.split(",") if part.strip()]
    for name in given:
        if name in _LEAKS:
            raise errors.ConfigError(
                f"--metadata={name} is refused: the size of image or file leaks the label in this data; use some of "
                f"{','.join(FIELDS)}"
            )
        if name not in FIELDS:
            raise errors.ConfigError(f"expected --metadata to be some of {','.join(FIELDS)}, got {name!r}")
    return tuple(name for name in FIELDS if name in given)


def columns(text: str) -> list[str]:
    """Returns the columns of the schema that the fields of `--metadata` need.

    Args:
        text: See `parse`.

    Returns:
        Column names, in the order of `FIELDS`.
    """
    return [FIELDS[name] for name in parse(text)]


def width(text: str) -> int:
    """Returns the number of inputs per image that `encode` computes.

    Args:
        text: See `parse`.

    Returns:
        0 or more: 2 for the age, and for sex and site the number of categories and one for unknown.
    """
    return sum(2 if name == "age" else _count_categories(name) + 1 for name in parse(text))


def _count_categories(name: str) -> int:
    return len(schema.CATEGORIES[FIELDS[name]])


def check_known(rows: pd.DataFrame, text: str) -> None:
    """Checks that every field is known for some images; logs for how many it is not.

    Args:
        rows: See `encode`.
        text: See `parse`.

    Raises:
        ConfigError: A field is unknown in every row, so that nothing can be learned from it.
    """
    counts = _count_unknown(rows, text)
    useless = [name for name, count in counts.items() if count == len(rows)]
    if useless and len(rows):
        raise errors.ConfigError(
            f"--metadata={','.join(useless)} needs {', '.join(FIELDS[name] for name in useless)}, unknown in all "
            f"{len(rows)} records; omit it, or rebuild the records with a table that has it: tfrecord_tools.build "
            "--records --csv"
        )
    log_unknown(rows, text)


def log_unknown(rows: pd.DataFrame, text: str) -> None:
    """Logs for how many images the fields are unknown.

    Args:
        rows: See `encode`.
        text: See `parse`.
    """
    counts = _count_unknown(rows, text)
    parts = [f"{name} of {count} ({count / len(rows):.1%})" for name, count in counts.items() if count]
    if parts:
        _LOG.warning(f"note: unknown metadata of {len(rows)} images: {', '.join(parts)}")


def _count_unknown(rows: pd.DataFrame, text: str) -> dict[str, int]:
    return {name: int((rows[FIELDS[name]] == schema.UNKNOWN).sum()) for name in parse(text)}


def encode(rows: pd.DataFrame, text: str) -> np.ndarray:
    """Encodes the codes of a table as inputs of the network.

    The age is centered and scaled, with a second input that is 1 where it is unknown. Sex and site are one-hot, the
    last input for unknown: the dense layer that follows learns an embedding for each category, and for unknown.

    Args:
        rows: DataFrame of n images with the columns that `columns` returns, -1 where unknown; the age in years.
        text: See `parse`.

    Returns:
        float32 `[n, width(text)]`.
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
    return np.concatenate(encoded, axis=1).astype(np.float32)
