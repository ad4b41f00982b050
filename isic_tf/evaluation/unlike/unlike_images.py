"""Evaluates the column `unlike`: which images are flagged, and what leaving out unlike images would change."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.artifacts.prediction_files import UNLIKE
from isic_tf.evaluation import subgroups, user_groups
from isic_tf.metrics import cluster_bootstrap, clustered_share, group_difference, risk_coverage

# Images above it are flagged.
LIMIT = 1.0
# Shares of the images, the least unlike ones, that rows of the table of coverages are of.
COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)
ALL, KEPT, FLAGGED = "all", "not flagged", "flagged"


def assess(
    table: pd.DataFrame, threshold: float | None, groups: Sequence[str] = (), resamples: int = 1000, seed: int = 0
) -> dict[str, Any] | None:
    """Evaluates how unlike the training images some images are, and what their predictions are worth.

    Images without a value are left out. An image is wrong where it is malignant and below the threshold, or benign and
    at it or above.

    Args:
        table: See `subgroups.folds`, with the columns of `subgroups.labels` and `unlike` (float, NaN where unknown).
        threshold: See `operating_points.confusion`.
        groups: Columns of groups of the user's own, see `user_groups.evaluate`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        None without any value of `unlike`; else a dict of

        - `images`, `flagged`, `share`, `share_low`, `share_high` of all images, see `clustered_share.estimate`, and
          `unknown`, the number of images without a value.
        - `groups`: list of dicts of `by` and `rows`: of each group its name (`group`) and the same figures.
        - `rows`: the figures of `subgroups.evaluate_group` of all images, those not flagged, and those flagged.
        - `without_flagged`: ROC AUC of the images not flagged minus that of all images, see `group_difference.compare`;
          `difference` is None, and `interval_note` says why, where one cannot be computed.
        - `coverages`: for each of `COVERAGES` a dict of `coverage`, `limit` (of `unlike`, the highest value kept),
          `error` (share of wrong images) and the figures of `subgroups.evaluate_group`.
        - `risk_coverage`: see `risk_coverage.compare_with_random`.

    Examples:
        >>> table = pd.DataFrame({"target": [0, 1], "prediction": [0.2, 0.9], "patient": [0, 1], "unlike": [0.5, 1.5]})
        >>> found = assess(table, 0.5)
        >>> found["flagged"], found["coverages"][-1]["images"], found["coverages"][-1]["limit"]
        (1, 1, 0.5)
    """
    if UNLIKE not in table or table[UNLIKE].isna().all():
        return None
    unknown = int(table[UNLIKE].isna().sum())
    table = table[table[UNLIKE].notna()].reset_index(drop=True)
    targets, scores, patient = (table[name].to_numpy() for name in ("target", "prediction", "patient"))
    values = table[UNLIKE].to_numpy()
    is_flagged = values > LIMIT
    is_wrong = (scores >= (np.inf if threshold is None else threshold)) != (targets == 1)
    options = threshold, resamples, seed
    whole = _evaluate(table, ALL, np.ones(len(table), bool), *options)
    parts = [_evaluate(table, KEPT, ~is_flagged, *options), _evaluate(table, FLAGGED, is_flagged, *options)]
    note = cluster_bootstrap.describe_too_few(targets, patient)
    return {
        **clustered_share.estimate(is_flagged, patient),
        "unknown": unknown,
        "groups": _count_groups(table, is_flagged, groups),
        "rows": [row for row in (whole, *parts) if row["images"]],
        "without_flagged": _compare(table, is_flagged, parts[0], resamples, seed),
        "coverages": [_cover(table, share, is_wrong, whole, *options) for share in COVERAGES],
        "risk_coverage": {
            **risk_coverage.compare_with_random(is_wrong, values, patient, 0 if note else resamples, seed),
            "interval_note": note,
        },
    }


def _evaluate(
    table: pd.DataFrame, name: str, is_own: np.ndarray, threshold: float | None, resamples: int, seed: int
) -> dict[str, Any]:
    """Returns the figures of some images, see `subgroups.evaluate_group`; where none is left, `images`, 0."""
    own = table[is_own]
    rows = subgroups.evaluate_group(own, pd.Categorical([name] * len(own)), threshold, resamples, seed)
    return rows[0] if rows else {"group": name, "images": 0, "auc": None, "note": "every image is flagged"}


def _count_groups(table: pd.DataFrame, is_flagged: np.ndarray, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Returns the share of each group that is flagged."""
    kinds: dict[str, pd.Series | pd.Categorical] = {**subgroups.labels(table), **user_groups.labels(table, columns)}
    found = []
    for by, group in kinds.items():
        categories = pd.Categorical(group)
        rows = []
        for code, name in enumerate(categories.categories):
            own = categories.codes == code
            if own.any():
                share = clustered_share.estimate(is_flagged[own], table["patient"].to_numpy()[own])
                rows.append({"group": str(name), **share})
        found.append({"by": by, "rows": rows})
    return found


def _compare(
    table: pd.DataFrame, is_flagged: np.ndarray, kept: Mapping[str, Any], resamples: int, seed: int
) -> dict[str, Any]:
    """Compares the ROC AUC of the images that are not flagged with that of all images."""
    note = kept["note"] or ("" if is_flagged.any() else "no image is flagged")
    if note:
        return {"difference": None, "low": None, "high": None, "interval_note": note}
    targets, scores, patient = (table[name].to_numpy() for name in ("target", "prediction", "patient"))
    everything = np.ones(len(table), bool)
    return group_difference.compare(targets, scores, patient, ~is_flagged, everything, resamples, seed)


def _cover(
    table: pd.DataFrame,
    share: float,
    is_wrong: np.ndarray,
    whole: Mapping[str, Any],
    threshold: float | None,
    resamples: int,
    seed: int,
) -> dict[str, Any]:
    """Returns the figures of the least unlike images; those as unlike as the last of them are kept too."""
    values = table[UNLIKE].to_numpy()
    limit = float(np.quantile(values, share, method="inverted_cdf"))
    is_kept = values <= limit
    figures = whole if is_kept.all() else _evaluate(table, "", is_kept, threshold, resamples, seed)
    rest = {name: value for name, value in figures.items() if name != "group"}
    return {"coverage": share, "limit": limit, "error": float(is_wrong[is_kept].mean()), **rest}


def plot_points(table: pd.DataFrame, threshold: float | None) -> tuple[np.ndarray, np.ndarray]:
    """Computes the curve of risk against coverage of an evaluated table.

    Args:
        table: DataFrame with `target`, `prediction` and `unlike`, at least one value of which is known.
        threshold: See `assess`.

    Returns:
        See `risk_coverage.curve`.

    Examples:
        >>> table = pd.DataFrame({"target": [0, 1], "prediction": [0.2, 0.1], "unlike": [0.5, 1.5]})
        >>> [values.tolist() for values in plot_points(table, 0.5)]
        [[0.5, 1.0], [0.0, 0.5]]
    """
    known = table[table[UNLIKE].notna()]
    called = known["prediction"].to_numpy() >= (np.inf if threshold is None else threshold)
    return risk_coverage.curve(called != (known["target"].to_numpy() == 1), known[UNLIKE].to_numpy())
