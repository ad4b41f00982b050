"""Features of a lesion from numeric columns of the user's own table: its values, and how they differ from the others'.

Values are standardized by the lesions that a model is fitted on, and then compared within the patient as scores are,
see `lesion_features`. An unknown value is 0, beside a feature that is 1, and is compared with no other.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata
from tfrecord_tools import errors

# Mean and standard deviation by name of a column.
Standards = Mapping[str, Sequence[float]]

# Standard deviations: where all other lesions of a patient are alike, small differences must not become large z-scores.
MIN_SPREAD = 0.5


def compute_standards(numbers: pd.DataFrame) -> dict[str, list[float]]:
    """Computes how numeric columns are standardized.

    Args:
        numbers: float64 `[n, k]`, NaN where unknown; the lesions that a model is fitted on.

    Returns:
        Dict from name to mean and standard deviation, in the order of the columns.

    Raises:
        ConfigError: A column is unknown of all lesions, or has one value.

    Examples:
        >>> compute_standards(pd.DataFrame({"area": [1.0, 3.0, np.nan]}))
        {'area': [2.0, 1.0]}
    """
    names = list(numbers)
    found = clinical_metadata.compute_standards(numbers.to_numpy(), names, "lesions of the fit", "--columns")
    pairs = np.stack([found.mean, found.spread], axis=1).tolist()
    return dict(zip(names, pairs, strict=True))


def check_standards(standards: Any) -> None:
    """Refuses standards of a file with which applying a model could fail.

    Args:
        standards: What the file holds.

    Raises:
        CorruptRecordError: They are no dict from names to a mean and a standard deviation above 0.
    """
    pairs = standards.values() if isinstance(standards, dict) else [standards]
    for pair in pairs:
        is_pair = isinstance(pair, list) and len(pair) == 2 and all(type(value) in (int, float) for value in pair)
        if not is_pair or not np.isfinite(pair).all() or pair[1] <= 0:
            raise errors.CorruptRecordError(f"expected numbers with a mean and a standard deviation, got {pair!r:.50}")


def tabulate(
    numbers: pd.DataFrame, patients: np.ndarray, standards: Standards, patient_context: bool
) -> dict[str, np.ndarray]:
    """Computes the features of lesions.

    Args:
        numbers: float64 `[n, k]`, NaN where unknown, with the columns of the standards.
        patients: int64 `[n]`, of an unknown patient a number that no other lesion has.
        standards: See `compute_standards`.
        patient_context: Whether to compare the values with those of the patient's other lesions.

    Returns:
        Dict from name to finite float64 `[n]`. They depend neither on the order of the rows nor on other patients.

    Examples:
        >>> numbers = pd.DataFrame({"area": [1.0, 3.0, np.nan]})
        >>> found = tabulate(numbers, np.array([0, 0, 0]), {"area": [2.0, 1.0]}, patient_context=True)
        >>> {name: values.tolist() for name, values in found.items()}["area_less_mean"]
        [-2.0, 2.0, 0.0]
    """
    columns = {}
    for name, (mean, spread) in standards.items():
        values = (numbers[name].to_numpy(np.float64) - mean) / spread
        columns[f"{name}_value"] = np.nan_to_num(values)
        columns[f"{name}_unknown"] = np.isnan(values).astype(np.float64)
        if patient_context:
            less_mean, z_score = _compare(values, patients)
            columns[f"{name}_less_mean"] = less_mean
            columns[f"{name}_z_score"] = z_score
    return columns


def _compare(values: np.ndarray, patients: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compares each known value with the patient's others: the difference from their mean, and in their spreads."""
    # By patient and value, so that sums are rounded alike whatever the order of the rows.
    order = np.lexsort((values, patients))
    own = pd.Series(values[order])
    by_patient = own.groupby(patients[order])
    count = by_patient.transform("count")
    others = np.maximum(count - 1, 1)
    from_mean = own - by_patient.transform("mean")
    less_mean = from_mean * count / others
    squares = (from_mean**2).groupby(patients[order]).transform("sum") - from_mean * less_mean
    z_score = less_mean / (np.sqrt(np.maximum(squares, 0) / others) + MIN_SPREAD)
    found = np.zeros((2, len(values)))
    found[:, order] = np.nan_to_num(np.stack([less_mean, z_score]))
    return found[0], found[1]
