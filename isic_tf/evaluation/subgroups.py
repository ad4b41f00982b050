"""Evaluates subgroups of the images: folds, sources, sex, age, site, image size, images of the patient."""

from typing import Any

import numpy as np
import pandas as pd

from isic_tf.metrics import operating_points, roc

# Minimum of each class: with fewer images, the standard error of an AUC of 0.8 is above 0.08 (Hanley and McNeil,
# Radiology 1982).
MIN_IMAGES = 10
MIN_PATIENTS = 5
# Name of each band, and the number that it ends below.
_AGES = {"under 30": 30, "30 to 44": 45, "45 to 59": 60, "60 to 74": 75, "75 and over": np.inf}
_COUNTS = {"1": 2, "2 to 9": 10, "10 to 29": 30, "30 and more": np.inf}
# Image sizes with a group of their own.
_SIZES = 6
_FIGURES = ("auc", "auc_low", "auc_high", "sensitivity", "specificity")
_KINDS = {"source": "source", "sex": "sex", "age_approx": "age", "anatom_site_general_challenge": "site"}
# Width and height in one number.
_WIDTH_FACTOR = 2**24


def folds(table: pd.DataFrame, threshold: float | None, resamples: int = 1000, seed: int = 0) -> dict[str, Any] | None:
    """Evaluates each fold.

    Args:
        table: DataFrame with `target`, `prediction`, `patient` (number), and perhaps `fold` (text, "" where unknown).
        threshold: See `operating_points.confusion`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict of `rows` (see `evaluate_group`) and `mean_auc`, the plain mean over folds, None (and a `note`) where a
        fold is too small; None where no image has a fold.
    """
    if "fold" not in table or (table["fold"] == "").all():
        return None
    names = table["fold"].replace("", "none")
    # 2 comes before 10.
    order = sorted(names.unique(), key=lambda name: (len(name), name))
    rows = evaluate_group(table, pd.Categorical(names, order), threshold, resamples, seed)
    aucs = [row["auc"] for row in rows if row["group"] != "none"]
    mean = None if None in aucs else float(np.mean(aucs))
    return {"rows": rows, "mean_auc": mean, "note": "" if mean is not None else "a fold is too small"}


def groups(table: pd.DataFrame, threshold: float | None, resamples: int = 1000, seed: int = 0) -> list[dict[str, Any]]:
    """Evaluates the groups of every kind that the table has columns for.

    Args:
        table: See `folds`, with the columns of `labels`.
        threshold: See `folds`.
        resamples: See `folds`.
        seed: See `folds`.

    Returns:
        List of dicts, one per kind: `by` (`source`, `sex`, `age`, `site`, `image size`, `images of the patient`) and
        `rows`, see `evaluate_group`.
    """
    kinds = labels(table).items()
    return [{"by": by, "rows": evaluate_group(table, group, threshold, resamples, seed)} for by, group in kinds]


def labels(table: pd.DataFrame) -> dict[str, pd.Series]:
    """Names the group of each image, for every kind of group that the table has values for.

    Args:
        table: See `evaluator.assess`, with `patient` (number).

    Returns:
        Dict from the kind of group to an ordered categorical Series.
    """
    found = {}
    for column, by in _KINDS.items():
        if column in table and (table[column] != "").any():
            found[by] = age_bands(table[column]) if by == "age" else _by_name(table[column])
    if knows_sizes(table):
        found["image size"] = sizes(table)
    counts = table.groupby("patient")["patient"].transform("size")
    found["images of the patient"] = _band(counts, _COUNTS)
    return found


def age_bands(ages: pd.Series) -> pd.Series:
    """Assigns ages (text, in years) to bands; "unknown" where blank."""
    codes, texts = pd.factorize(ages.to_numpy(object))
    years = pd.to_numeric(np.where(texts == "", "nan", texts), errors="coerce")
    return _band(pd.Series(years[codes], ages.index), _AGES)


def sizes(table: pd.DataFrame, most: int = _SIZES) -> pd.Series:
    """Names each image's original size, such as 6000x4000; "other sizes" or "unknown".

    Args:
        table: DataFrame with `width` and `height` in pixels.
        most: Number of sizes, the most frequent ones, that keep their name.

    Returns:
        Ordered categorical Series.
    """
    named = size_names(table)
    frequent = [name for name in named.value_counts().index if name != "unknown"][:most]
    order = [*frequent, "other sizes", "unknown"]
    return pd.Series(pd.Categorical(named.where(named.isin(order), "other sizes"), order), table.index)


def knows_sizes(table: pd.DataFrame) -> bool:
    """Returns whether a table has the width and height of any image."""
    return {"width", "height"} <= set(table) and bool(((table["width"] > 0) & (table["height"] > 0)).any())


def size_names(table: pd.DataFrame) -> pd.Series:
    """Names each image's original size, such as 6000x4000; "unknown" where either side is."""
    width = table["width"].to_numpy()
    height = table["height"].to_numpy()
    # Few sizes among many images: each is named once.
    numbers = np.where((width > 0) & (height > 0), width * _WIDTH_FACTOR + height, 0)
    values, codes = np.unique(numbers, return_inverse=True)
    names = []
    for value in values.tolist():
        columns, rows = divmod(value, _WIDTH_FACTOR)
        names.append(f"{columns}x{rows}" if value > 0 else "unknown")
    return pd.Series(np.array(names, dtype=object)[codes], table.index)


def _by_name(column: pd.Series) -> pd.Series:
    codes, texts = pd.factorize(column)
    names = [text.lower() or "unknown" for text in texts]
    order = [*sorted(set(names) - {"unknown"}), "unknown"]
    places = np.array([order.index(name) for name in names])
    return pd.Series(pd.Categorical.from_codes(places[codes], order), column.index)


def _band(numbers: pd.Series, ends: dict[str, float]) -> pd.Series:
    """Assigns numbers to bands; each band ends below its number."""
    values = numbers.to_numpy(float)
    place = np.searchsorted(list(ends.values()), values, "right")
    known_place = np.where(np.isfinite(values), place, len(ends))
    return pd.Series(pd.Categorical.from_codes(known_place, [*ends, "unknown"]), numbers.index)


def evaluate_group(
    table: pd.DataFrame,
    group: pd.Series | pd.Categorical,
    threshold: float | None,
    resamples: int = 1000,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Evaluates each group of images by itself.

    Args:
        table: See `folds`.
        group: Name of the group of each image, `[n]`; categories keep their order, those without images are left out.
        threshold: See `operating_points.confusion`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        List of dicts of `group`, `images`, `malignant`, `patients`, `auc`, `auc_low`, `auc_high`, `sensitivity`,
        `specificity` and `note`; the figures from `auc` on are None where the group is too small: see the note. There
        is no interval where there are too few patients, see `cluster_bootstrap.describe_too_few`.
    """
    categories = pd.Categorical(group)
    targets, scores, patient = (table[column].to_numpy() for column in ("target", "prediction", "patient"))
    rows = []
    for code, name in enumerate(categories.categories):
        own = np.flatnonzero(categories.codes == code)
        if len(own):
            figures = _evaluate_images(targets[own], scores[own], patient[own], threshold, resamples, seed)
            rows.append({"group": str(name), **figures})
    return rows


def _evaluate_images(
    targets: np.ndarray, scores: np.ndarray, patient: np.ndarray, threshold: float | None, resamples: int, seed: int
) -> dict[str, Any]:
    counts = {"images": len(targets), "malignant": int(targets.sum()), "patients": _count_patients(patient)}
    note = too_small(targets, patient)
    if note:
        return {**counts, **dict.fromkeys(_FIGURES), "note": note}
    low, high = roc.roc_auc_interval(targets, scores, patient, resamples, seed)
    confusion = operating_points.confusion(targets, scores, threshold)
    return {
        **counts,
        "auc": roc.roc_auc(targets, scores),
        "auc_low": low,
        "auc_high": high,
        "sensitivity": confusion["sensitivity"],
        "specificity": confusion["specificity"],
        "note": "",
    }


def _count_patients(patient: np.ndarray) -> int:
    return int(np.count_nonzero(np.bincount(patient)))


def too_small(targets: np.ndarray, patient: np.ndarray) -> str:
    """Returns why a group is too small to evaluate; "" where it is not.

    Args:
        targets: 0 or 1, `[n]`.
        patient: int `[n]`, number of the patient of each image.

    Returns:
        The reason, with the number that is needed, or "".
    """
    for target, label in ((1, "malignant"), (0, "benign")):
        images = (targets == target).sum()
        patients = _count_patients(patient[targets == target])
        if images < MIN_IMAGES:
            return f"too small: {images} {label} images, {MIN_IMAGES} needed"
        if patients < MIN_PATIENTS:
            return f"too small: {label} images of {patients} patients, {MIN_PATIENTS} needed"
    return ""
