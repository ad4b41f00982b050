"""Where a model does well and where it does not: the same figures in parts of the images."""

import numpy as np
import pandas as pd

from isic_tf.metrics import operating_points, roc

# With fewer, the standard error of an AUC of 0.8 is above 0.08 (Hanley and McNeil, Radiology 1982).
MIN_IMAGES = 10
MIN_PATIENTS = 5
_AGES = {"under 30": 30, "30 to 44": 45, "45 to 59": 60, "60 to 74": 75, "75 and over": np.inf}
_COUNTS = {"1": 2, "2 to 9": 10, "10 to 29": 30, "30 and more": np.inf}
_SIZES = 6
_FIGURES = ("auc", "auc_low", "auc_high", "sensitivity", "specificity")


def folds(table, threshold, resamples=1000, seed=0):
    """Judges each fold.

    Args:
        table: DataFrame with `target`, `prediction`, `patient` (number), and perhaps `fold` (text, "" where unknown).
        threshold: See `operating_points.confusion`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict of `rows` (see `judge`) and `mean_auc`, the plain mean over folds, None (and a `note`) where a fold is too
        small; None where no image has a fold.
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


def groups(table, threshold, resamples=1000, seed=0):
    """Judges the groups of every kind that the table has columns for; see `folds`.

    Returns:
        List of dicts, one a kind: `by` (`source`, `sex`, `age`, `site`, `image size`, `images of the patient`) and
        `rows`, see `judge`.
    """
    kinds = labels(table).items()
    return [{"by": by, "rows": evaluate_group(table, group, threshold, resamples, seed)} for by, group in kinds]


def labels(table):
    """Names the group of each image, for every kind of group that the table has columns for and that says something.

    Args:
        table: See `evaluator.assess`, with `patient` (number).

    Returns:
        Dict from the kind of group to an ordered categorical Series.
    """
    columns = {"source": "source", "sex": "sex", "age_approx": "age", "anatom_site_general_challenge": "site"}
    found = {}
    for column, by in columns.items():
        if column in table and (table[column] != "").any():
            found[by] = age_bands(table[column]) if by == "age" else _by_name(table[column])
    if knows_sizes(table):
        found["image size"] = sizes(table)
    counts = table.groupby("patient")["patient"].transform("size")
    found["images of the patient"] = _band(counts, _COUNTS)
    return found


def age_bands(ages):
    """Puts ages (text, in years) into bands; "unknown" where blank."""
    return _band(pd.to_numeric(ages.replace("", "nan"), errors="coerce"), _AGES)


def sizes(table, most=_SIZES):
    """Names each image's original size as 6000x4000, but for "other sizes" beside the most frequent, and "unknown"."""
    named = size_names(table)
    frequent = [name for name in named.value_counts().index if name != "unknown"][:most]
    order = [*frequent, "other sizes", "unknown"]
    return pd.Series(pd.Categorical(named.where(named.isin(order), "other sizes"), order), table.index)


def knows_sizes(table):
    """Tells whether a table knows width and height of any image."""
    return {"width", "height"} <= set(table) and bool(((table["width"] > 0) & (table["height"] > 0)).any())


def size_names(table):
    """Names each image's original size as 6000x4000; "unknown" where either side is."""
    width, height = table["width"].to_numpy(), table["height"].to_numpy()
    # Few sizes among many images: each is named once.
    numbers = np.where((width > 0) & (height > 0), width * 2**24 + height, 0)
    codes, first = np.unique(numbers, return_inverse=True)[::-1]
    names = [f"{size >> 24}x{size & (2**24 - 1)}" if size > 0 else "unknown" for size in first.tolist()]
    return pd.Series(np.array(names, dtype=object)[codes], table.index)


def _by_name(column):
    codes, texts = pd.factorize(column)
    names = [text.lower() or "unknown" for text in texts]
    order = [*sorted(set(names) - {"unknown"}), "unknown"]
    places = np.array([order.index(name) for name in names])
    return pd.Series(pd.Categorical.from_codes(places[codes], order), column.index)


def _band(numbers, ends):
    """Puts numbers into bands, each up to below its end."""
    place = np.searchsorted(list(ends.values()), numbers.to_numpy(float), "right")
    place = np.where(np.isfinite(numbers.to_numpy(float)), place, len(ends))
    return pd.Series(pd.Categorical.from_codes(place, [*ends, "unknown"]), numbers.index)


def evaluate_group(table, group, threshold, resamples=1000, seed=0):
    """Judges each group of images by itself.

    Args:
        table: See `folds`.
        group: The group's name of each image, `[n]`; categories keep their order, those of no image are left out.
        threshold: See `operating_points.confusion`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        List of dicts of `group`, `images`, `malignant`, `patients`, `auc`, `auc_low`, `auc_high`, `sensitivity`,
        `specificity` and `note`; the figures from `auc` on are None where the group is too small, as the note says.
    """
    rows, columns = [], [table[column].to_numpy() for column in ("target", "prediction", "patient")]
    group = pd.Categorical(group)
    for code, name in enumerate(group.categories):
        places = np.flatnonzero(group.codes == code)
        if not len(places):
            continue
        targets, scores, patient = (column[places] for column in columns)
        counts = {"images": len(places), "malignant": int(targets.sum()), "patients": _count(patient)}
        note, figures = too_small(targets, patient), dict.fromkeys(_FIGURES)
        if not note:
            low, high = roc.roc_auc_interval(targets, scores, patient, resamples, seed)
            figures = {"auc": roc.roc_auc(targets, scores), "auc_low": low, "auc_high": high}
            counted = operating_points.confusion(targets, scores, threshold)
            figures |= {name: counted[name] for name in ("sensitivity", "specificity")}
        rows.append({"group": str(name), **counts, **figures, "note": note})
    return rows


def _count(patient):
    """Counts different patients among their numbers."""
    return int(np.count_nonzero(np.bincount(patient)))


def too_small(targets, patient):
    """Says why a group is too small to judge; "" where it is not."""
    for kind, label in ((1, "malignant"), (0, "benign")):
        images, patients = (targets == kind).sum(), _count(patient[targets == kind])
        if images < MIN_IMAGES:
            return f"too small: {images} {label} images, {MIN_IMAGES} needed"
        if patients < MIN_PATIENTS:
            return f"too small: {label} images of {patients} patients, {MIN_PATIENTS} needed"
    return ""
