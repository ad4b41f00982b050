"""The melanoma among its patient's other lesions: would it be looked at first?

Dermatologists find melanomas by comparing a patient's lesions with each other (the "ugly duckling": Grob and Bonerandi,
Arch Dermatol 1998), which the ROC AUC over all images does not show.
"""

import numpy as np

from isic_tf.evaluation import subgroups


def rank(table, resamples=1000, seed=0):
    """Ranks each patient's lesions by prediction, for the patients that have both malignant and benign ones.

    A patient's figure is one number, however many images there are; the figures are means over patients.

    Args:
        table: DataFrame with `patient` (number), `target` and `prediction`.
        resamples: Number of resamples of the patients.
        seed: Seed of the resampling.

    Returns:
        Dict of

        - `patients` with both kinds, and their mean number of `images`;
        - `mean_rank` and `median_rank` of the highest malignant image, 1 at the top, ties in the middle;
        - `mean_percentile` of that image: 1 where it is at the top of its patient's, 0 at the bottom;
        - `top_1`: share of patients whose highest image is malignant (where k images tie, the malignant share of the
          k), and `top_1_by_chance`, if lesions were drawn by lot;
        - `auc_within`: mean over patients of the ROC AUC of the patient's images;
        - `top_1_low`, `top_1_high`, `auc_within_low`, `auc_within_high`: 95 % intervals over resampled patients;
        - `note`: "", or why the figures from `mean_rank` on are None.
    """
    each = _by_patient(table)
    names = ("mean_rank", "median_rank", "mean_percentile", "top_1", "top_1_by_chance", "auc_within")
    ends = [f"{name}_{end}" for name in ("top_1", "auc_within") for end in ("low", "high")]
    found = {"patients": len(each), "images": float(each["images"].mean()) if len(each) else None}
    if len(each) < subgroups.MIN_PATIENTS:
        note = f"too few: {len(each)} patients with malignant and benign images, {subgroups.MIN_PATIENTS} needed"
        return {**found, **dict.fromkeys([*names, *ends]), "note": note}
    means = each.mean()
    values = [means["rank"], each["rank"].median(), *means[["percentile", "top", "chance", "auc"]]]
    rng, drawn = np.random.default_rng(seed), each[["top", "auc"]].to_numpy()
    resampled = [drawn[rng.integers(len(drawn), size=len(drawn))].mean(axis=0) for _ in range(resamples)]
    intervals = np.quantile(resampled, [0.025, 0.975], axis=0).T.ravel()
    figures = dict(zip([*names, *ends], map(float, [*values, *intervals]), strict=True))
    return {**found, **figures, "note": ""}


def _by_patient(table):
    """Gives images, rank, percentile, top, chance and auc of each patient with both kinds of images."""
    patients = table.groupby("patient")["target"]
    both = (patients.transform("max") == 1) & (patients.transform("min") == 0)
    table = table.loc[both, ["patient", "target", "prediction"]]
    patients = table.groupby("patient")
    # Ranks from the bottom, as the rank sum wants them.
    table = table.assign(rank=patients["prediction"].rank(), best=patients["prediction"].transform("max"))
    malignant = table[table["target"] == 1].groupby("patient")
    images, count = patients.size(), malignant.size()
    auc = (malignant["rank"].sum() - count * (count + 1) / 2) / (count * (images - count))
    place = images + 1 - malignant["rank"].max()
    top = table[table["prediction"] == table["best"]].groupby("patient")["target"].mean()
    percentile = (images - place) / (images - 1)
    each = {"images": images, "rank": place, "percentile": percentile, "top": top, "chance": count / images, "auc": auc}
    return images.to_frame("images").assign(**each)
