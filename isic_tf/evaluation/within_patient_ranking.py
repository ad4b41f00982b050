"""Ranks the melanoma among its patient's other lesions.

Dermatologists find melanomas by comparing a patient's lesions with each other (the "ugly duckling": Grob and Bonerandi,
Arch Dermatol 1998), which the ROC AUC over all images does not show.
"""

from typing import Any

import numpy as np
import pandas as pd

from isic_tf.evaluation import subgroups
from isic_tf.metrics import cluster_bootstrap

_FIGURES = ("mean_rank", "median_rank", "mean_percentile", "top_1", "top_1_by_chance", "auc_within")
_INTERVALS = ("top_1_low", "top_1_high", "auc_within_low", "auc_within_high")


def rank(table: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Ranks each patient's lesions by prediction, for the patients with both malignant and benign lesions.

    Each patient counts once, however many images there are: the figures are means over patients.

    Args:
        table: DataFrame with `patient` (number), `target` and `prediction`.
        resamples: Number of resamples of the patients.
        seed: Seed of the resampling.

    Returns:
        Dict of

        - `patients` with both classes, and their mean number of `images`;
        - `mean_rank` and `median_rank` of the highest malignant image, 1 at the top, ties in the middle;
        - `mean_percentile` of that image: 1 where it is at the top of its patient's images, 0 at the bottom;
        - `top_1`: fraction of patients whose highest image is malignant (where k images tie, the malignant fraction of
          the k), and `top_1_by_chance`, that of a random order;
        - `auc_within`: mean over patients of the ROC AUC of the patient's images;
        - `top_1_low`, `top_1_high`, `auc_within_low`, `auc_within_high`: 95 % intervals over resampled patients;
        - `interval_note`: "", or why there are no intervals;
        - `note`: "", or why the figures from `mean_rank` on are None.
    """
    each = _rank_by_patient(table)
    counts = {"patients": len(each), "images": float(each["images"].mean()) if len(each) else None}
    if len(each) < subgroups.MIN_PATIENTS:
        note = f"too few: {len(each)} patients with malignant and benign images, {subgroups.MIN_PATIENTS} needed"
        return {**counts, **dict.fromkeys([*_FIGURES, *_INTERVALS]), "interval_note": "", "note": note}
    means = each.mean()
    values = [means["rank"], each["rank"].median(), *means[["percentile", "top", "chance", "auc"]]]
    figures = dict(zip(_FIGURES, map(float, values), strict=True))
    intervals, interval_note = _resample(each, resamples, seed)
    return {**counts, **figures, **intervals, "interval_note": interval_note, "note": ""}


def _resample(each: pd.DataFrame, resamples: int, seed: int) -> tuple[dict[str, float | None], str]:
    """Returns the intervals of the means over patients; or no interval, and why."""
    if len(each) < cluster_bootstrap.MIN_PATIENTS:
        needed = f"at least {cluster_bootstrap.MIN_PATIENTS} needed"
        return dict.fromkeys(_INTERVALS), f"no interval: {len(each)} patients with both kinds of lesions, {needed}"
    rng = np.random.default_rng(seed)
    per_patient = each[["top", "auc"]].to_numpy()
    resampled = [per_patient[rng.integers(len(each), size=len(each))].mean(axis=0) for _ in range(resamples)]
    ends = np.quantile(resampled, [0.025, 0.975], axis=0).T.ravel()
    return dict(zip(_INTERVALS, map(float, ends), strict=True)), ""


def _rank_by_patient(table: pd.DataFrame) -> pd.DataFrame:
    """Returns images, rank, percentile, top, chance and auc of each patient with both classes."""
    targets = table.groupby("patient")["target"]
    has_both = (targets.transform("max") == 1) & (targets.transform("min") == 0)
    lesions = table.loc[has_both, ["patient", "target", "prediction"]]
    predictions = lesions.groupby("patient")["prediction"]
    # Ranks from the bottom, for the rank sum.
    lesions = lesions.assign(rank=predictions.rank(), best=predictions.transform("max"))
    malignant = lesions[lesions["target"] == 1].groupby("patient")
    images = lesions.groupby("patient").size()
    count = malignant.size()
    rank_sum = malignant["rank"].sum()
    place = images + 1 - malignant["rank"].max()
    top = lesions[lesions["prediction"] == lesions["best"]].groupby("patient")["target"].mean()
    return images.to_frame("images").assign(
        rank=place,
        percentile=(images - place) / (images - 1),
        top=top,
        chance=count / images,
        auc=(rank_sum - count * (count + 1) / 2) / (count * (images - count)),
    )
