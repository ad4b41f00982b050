"""Measures how balanced folds are, and finds patients, lesions and duplicates that are in two folds."""

import logging
from typing import Any

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.io import identity
from tfrecord_tools.splits import leaks

_LOG = logging.getLogger(__name__)

# Bins of images per patient: 1 to 2, 3 to 4 and so on, the last one above 200; those of the audit of Deotte's folds.
SIZE_EDGES = (0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 60, 80, 200)


def count_loads(folds: np.ndarray, patients: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Counts what each fold, or each group of patients, holds.

    Args:
        folds: int `[n]`, the fold or group of each image, from 0 without gaps.
        patients: int `[n]`, the patient of each image, from 0.
        targets: int `[n]`, 1 for malignant; any other value counts as benign.

    Returns:
        int64 `[f, 17]`: number of malignant images, of images and of patients; then the number of images in each bin
        of `SIZE_EDGES`, by how many images their patient has in all folds together.

    Examples:
        >>> loads = count_loads(np.array([0, 0, 1]), np.array([0, 0, 1]), np.array([1, 0, 0]))
        >>> loads[:, :4].tolist()
        [[1, 2, 1, 2], [0, 1, 1, 1]]
    """
    folds = np.asarray(folds)
    patients = np.asarray(patients)
    num_folds = folds.max() + 1
    num_patients = patients.max() + 1
    num_bins = len(SIZE_EDGES)
    images = np.bincount(folds)
    malignant = np.bincount(folds, weights=np.equal(targets, 1)).astype(np.int64)
    fold_of_patient = np.unique(folds * num_patients + patients) // num_patients
    images_of_patient = np.bincount(patients)
    bins = np.searchsorted(SIZE_EDGES, images_of_patient[patients]) - 1
    images_by_bin = np.bincount(folds * num_bins + bins, minlength=num_folds * num_bins)
    return np.column_stack([malignant, images, np.bincount(fold_of_patient), images_by_bin.reshape(num_folds, -1)])


def compute_deviations(loads: np.ndarray) -> np.ndarray:
    """Computes how far each fold is from the mean of the folds.

    Args:
        loads: `[..., f, 17]`, see `count_loads`.

    Returns:
        float64 `[..., f, 4]`: the deviations of the malignant rate, the number of images and the number of patients
        from their means, relative to the mean; and the total variation distance of the distribution over `SIZE_EDGES`
        from the mean distribution, which is half the sum of the absolute differences, from 0 to 1.
    """
    images = np.maximum(loads[..., 1], 1)
    levels = np.stack([loads[..., 0] / images, loads[..., 1], loads[..., 2]], axis=-1)
    means = levels.mean(axis=-2, keepdims=True)
    # If all images are benign, the mean rate is 0, and so is every deviation.
    relative = (levels - means) / np.where(means > 0, means, 1)
    shares = loads[..., 3:] / images[..., None]
    distances = np.abs(shares - shares.mean(axis=-2, keepdims=True)).sum(axis=-1, keepdims=True) / 2
    return np.concatenate([relative, distances], axis=-1)


def compute_spread(deviations: np.ndarray) -> np.ndarray:
    """Computes the largest difference between folds: maximum minus minimum, or the largest distance.

    Args:
        deviations: float64 `[..., f, 4]`, see `compute_deviations`.

    Returns:
        float64 `[..., 4]`.
    """
    # The minimum of a relative deviation is 0 or below; a distance is counted from 0.
    return deviations.max(axis=-2) - np.minimum(deviations.min(axis=-2), 0)


def audit_folds(table: pd.DataFrame, pairs: pd.DataFrame | None = None) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Measures the balance of folds and finds their leaks.

    Args:
        table: DataFrame with `image_name` (unique), `patient` (int, see `stratified_group_folds.group_codes`),
            `target` (int, 1 for malignant) and `fold` (int, -1 for an image without a fold); optionally `patient_id`,
            from which `patient` was made, and `lesion_id`, both text.
        pairs: DataFrame of text with `image_name_1` and `image_name_2`, the known duplicates; or None.

    Returns:
        by_fold: DataFrame indexed by `fold` with `images`, `patients`, `malignant`, `malignant_rate` and
            `total_variation`, the distance of its images per patient from the mean of the folds (see
            `compute_deviations`).
        figures: Dict with the differences between the largest and the smallest fold, `rate_spread` and
            `images_spread` relative to the mean, `images_apart` and `patients_apart` as counts; the largest
            `total_variation`; and the counts `leaking_patients`, `leaking_lesions`, `leaking_photographs` (under two
            names) and `leaking_pairs` (in two folds or more), `listed_pairs`, `absent_pairs` (with an image that is not
            in the table) and `images_in_no_fold`. The counts of pairs are absent without `pairs`.

    Raises:
        IsicError: No image is in a fold.

    Examples:
        >>> table = pd.DataFrame({"image_name": list("abcd"), "patient": [0, 0, 1, 1], "target": [1, 0, 1, 0]})
        >>> by_fold, figures = audit_folds(table.assign(fold=[0, 0, 1, 1]))
        >>> by_fold["images"].tolist(), int(figures["leaking_patients"])
        ([2, 2], 0)
    """
    used = table[table["fold"] != schema.UNKNOWN]
    if used.empty:
        raise errors.IsicError(
            f"expected images in folds from 0, but all {len(table)} images are without a fold; check the folds file"
        )
    folds, codes = np.unique(used["fold"], return_inverse=True)
    loads = count_loads(codes, used["patient"], used["target"])
    deviations = compute_deviations(loads)
    spread = compute_spread(deviations)
    by_fold = pd.DataFrame(
        {
            "images": loads[:, 1],
            "patients": loads[:, 2],
            "malignant": loads[:, 0],
            "malignant_rate": loads[:, 0] / loads[:, 1],
            "total_variation": deviations[:, 3],
        },
        index=pd.Index(folds, name="fold"),
    )
    figures = {
        "rate_spread": spread[0],
        "images_spread": spread[1],
        "images_apart": np.ptp(loads[:, 1]),
        "patients_apart": np.ptp(loads[:, 2]),
        "total_variation": spread[3],
        **_count_leaks(table, pairs),
        "images_in_no_fold": len(table) - len(used),
    }
    return by_fold, figures


def _count_leaks(table: pd.DataFrame, pairs: pd.DataFrame | None) -> dict[str, Any]:
    """Counts what is in two folds."""
    if "patient_id" not in table:
        table = table.assign(patient_id="patient " + table["patient"].astype(str))
    folds = table["fold"].astype(object).replace(schema.UNKNOWN, None)
    split = leaks.find_split(table, folds, pairs)
    counts = {f"leaking_{kind}": len(cases) for kind, cases in split.items() if kind != "pairs"}
    if pairs is None:
        return counts
    names = table["image_name"]
    first, second = (identity.find_matches(pairs[column], names) for column in schema.PAIR_COLUMNS)
    absent = np.count_nonzero(~(first & second))
    return {**counts, "listed_pairs": len(pairs), "absent_pairs": absent, "leaking_pairs": len(split["pairs"])}


def log_audit(by_fold: pd.DataFrame, figures: dict[str, Any]) -> None:
    """Logs an audit as a table and a list.

    Args:
        by_fold: See `audit_folds`.
        figures: See `audit_folds`.
    """
    _LOG.info(by_fold.to_string(float_format="{:.5f}".format))
    lines = [
        ("malignant rate, (max - min) / mean", f"{figures['rate_spread']:.5f}"),
        ("images, max - min", f"{figures['images_apart']} ({figures['images_spread']:.2%} of the mean)"),
        ("patients, max - min", figures["patients_apart"]),
        ("images per patient, largest total variation", f"{figures['total_variation']:.5f}"),
        ("patients in two folds", figures["leaking_patients"]),
        ("lesions in two folds", figures["leaking_lesions"]),
        ("photographs under two names in two folds", figures["leaking_photographs"]),
    ]
    if "listed_pairs" in figures:
        absent = f"{figures['absent_pairs']} with an image that is not in the table"
        lines.append(("listed duplicate pairs", f"{figures['listed_pairs']} ({absent})"))
        lines.append(("listed duplicate pairs in two folds", figures["leaking_pairs"]))
    if figures["images_in_no_fold"]:
        lines.append(("images without a fold", figures["images_in_no_fold"]))
    width = max(len(name) for name, _ in lines)
    _LOG.info("\n".join(f"{name:<{width}}  {value}" for name, value in lines))


def refuse_leaks(source: str, figures: dict[str, Any]) -> None:
    """Refuses folds in which an audit found leaks.

    Args:
        source: Name of the folds, for the error.
        figures: See `audit_folds`.

    Raises:
        LeakageError: Patients, lesions, photographs or listed duplicates are in two folds.
    """
    counts = {kind: figures.get(f"leaking_{kind}", 0) for kind in leaks.SPLIT_KINDS}
    found = [f"{count} {leaks.SPLIT_KINDS[kind]}" for kind, count in counts.items() if count]
    if found:
        raise errors.LeakageError(
            f"{source} leaks: {' and '.join(found)} are in two folds; create new folds with --output and --duplicates"
        )
