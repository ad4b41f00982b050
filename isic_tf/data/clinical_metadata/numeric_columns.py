"""Numeric columns of the user's own table: which ones `--metadata` names, and how they are standardized.

The table is a CSV file, joined by image name. The network itself standardizes the numbers, see
`isic_tf.models.standardization`, so that its weights hold the mean and the standard deviation of its training images.
"""

import typing

import numpy as np

from isic_tf.data.clinical_metadata import leaking_columns
from tfrecord_tools import errors

# The fields that records hold, and the columns of the schema that they are.
RECORD_FIELDS = {"age": "age_approx", "sex": "sex", "site": "anatom_site_general_challenge"}
# Below this share of the mean, a standard deviation is lost in the rounding of float32.
_SMALLEST_SPREAD = 1e-6


class Standards(typing.NamedTuple):
    """How numeric columns are standardized.

    Examples:
        >>> Standards(np.array([8.0]), np.array([2.0])).spread.tolist()
        [2.0]
    """

    mean: np.ndarray  # float64 [k], of the known values
    spread: np.ndarray  # float64 [k], their standard deviation, above 0


def parse_numeric(text: str, option: str = "--metadata") -> tuple[str, ...]:
    """Lists the numeric columns among comma-separated fields.

    Args:
        text: Fields separated by commas, or "".
        option: The option that they are from, for errors.

    Returns:
        All names besides age, sex and site, each once, in their order.

    Raises:
        ConfigError: A column tells the label, or is one of the three fields under another name.

    Examples:
        >>> parse_numeric("tbp_lv_areaMM2,age,tbp_lv_H")
        ('tbp_lv_areaMM2', 'tbp_lv_H')
    """
    given = dict.fromkeys(part.strip() for part in text.split(",") if part.strip())
    names = tuple(name for name in given if name not in RECORD_FIELDS)
    for name in names:
        reason = leaking_columns.find_reason(name)
        if reason:
            raise errors.ConfigError(
                f"{option}={name} is refused: {reason}; use some of {','.join(RECORD_FIELDS)}, or numeric columns that "
                "are measured before the diagnosis"
            )
        field = next((own for own, column in RECORD_FIELDS.items() if name == column), None)
        if field:
            raise errors.ConfigError(
                f"expected {option} to name {name} as {field}, a field of the records, got {name}; write {field}"
            )
    return names


def check_table(table: str | None, names: typing.Sequence[str]) -> None:
    """Checks, before any image is read, that a table is given where a model uses numeric columns, and only there.

    Args:
        table: The option `--table`; None where it is not given.
        names: Names of the columns that the model uses.

    Raises:
        ConfigError: There is no table, though there are names; or a table, though there are none.

    Examples:
        >>> check_table("test.csv", ["tbp_lv_areaMM2"])
    """
    if names and not table:
        raise errors.ConfigError(
            f"expected --table=FILE.csv with image_name and the numeric columns {', '.join(names)}, which the model "
            "was trained with, got none; add it"
        )
    if table and not names:
        raise errors.ConfigError(f"expected no --table: the model uses no numeric columns, got {table}; leave it out")


def compute_standards(
    values: np.ndarray, names: typing.Sequence[str], images: str = "training images", option: str = "--metadata"
) -> Standards:
    """Computes the mean and the standard deviation of numeric columns over the images where they are known.

    Args:
        values: float64 `[n, k]`, NaN where unknown, see `select_values`.
        names: Names of the columns, `[k]`.
        images: What the images are, for errors.
        option: The option that names the columns, for errors.

    Returns:
        `Standards`.

    Raises:
        ConfigError: A column is unknown of all images, or has one value, so that nothing can be learned from it.

    Examples:
        >>> compute_standards(np.array([[1.0], [3.0], [np.nan]]), ["area"])
        Standards(mean=array([2.]), spread=array([1.]))
    """
    means = np.zeros(len(names))
    spreads = np.ones(len(names))
    for place, name in enumerate(names):
        known = values[~np.isnan(values[:, place]), place]
        if not len(known):
            raise errors.ConfigError(
                f"expected values of {name}, a column of {option}, got none of the {len(values)} {images}: it is "
                "unknown of all; leave it out, or use a table that has it for these images"
            )
        means[place], spreads[place] = known.mean(), known.std()
        if known.min() == known.max() or spreads[place] <= _SMALLEST_SPREAD * abs(means[place]):
            raise errors.ConfigError(
                f"expected different values of {name}, a column of {option}, got {known[0]:g} for all of the "
                f"{len(known)} {images} where it is known: nothing can be learned from it; leave it out"
            )
    return Standards(means, spreads)


def describe_standards(values: np.ndarray, names: typing.Sequence[str], standards: Standards) -> list[str]:
    """Describes how numeric columns are standardized.

    Args:
        values: See `compute_standards`.
        names: See `compute_standards`.
        standards: See `compute_standards`.

    Returns:
        A line per column.
    """
    unknown = np.isnan(values).sum(axis=0)
    return [
        f"  {name}: mean {mean:.6g}, standard deviation {spread:.6g}, unknown of {count} of {len(values)} images"
        for name, mean, spread, count in zip(names, *standards, unknown, strict=True)
    ]
