"""Compares two predictions of the same images."""

from typing import Any

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, delong, roc, summaries

_FIGURES = {"auc": cluster_bootstrap.roc_auc, "partial_auc": cluster_bootstrap.partial_auc}


def compare(first: pd.DataFrame, second: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Compares the ROC AUCs of two predictions of the same images.

    Args:
        first: DataFrame with `image_name`, `patient_id` ("" where unknown), `target` (0 or 1) and `prediction`, in
            order of `image_name`.
        second: Likewise, of the same images.
        resamples: Number of resamples of the patients.
        seed: Seed of the resampling.

    Returns:
        Dict of `difference`, the first AUC minus the second; `low` and `high`, its 95 % interval over patients;
        `delong_low`, `delong_high` and `delong_p` (two-sided), by DeLong's test, which treats images as independent,
        None where it cannot be computed; `partial_auc_difference`, `partial_auc_low`, `partial_auc_high`, likewise
        over patients; and `interval_note`: "", or why there are no intervals and no test, see
        `cluster_bootstrap.describe_too_few`.

    Examples:
        >>> table = {"image_name": list("abcd"), "patient_id": list("pqrs"), "target": [0, 1, 0, 1]}
        >>> first = pd.DataFrame({**table, "prediction": [0.1, 0.9, 0.2, 0.8]})
        >>> second = pd.DataFrame({**table, "prediction": [0.1, 0.9, 0.2, 0.15]})
        >>> compare(first, second)["difference"]
        0.25
    """
    targets = first["target"].to_numpy()
    patient, _ = pd.factorize(summaries.group_by_patient(first))
    scores = np.stack([table["prediction"].to_numpy() for table in (first, second)])
    count = cluster_bootstrap.affordable(targets, resamples)
    resampled = cluster_bootstrap.resample(targets, scores, patient, _FIGURES, count, seed)
    ends = {name: cluster_bootstrap.interval(of_first - of_second) for name, (of_first, of_second) in resampled.items()}
    note = cluster_bootstrap.describe_too_few(targets, patient)
    by_delong = delong.compare(targets, *scores)
    if note:
        by_delong.update(low=None, high=None, p=None)
    partial_first, partial_second = (roc.partial_roc_auc(targets, row) for row in scores)
    return {
        "difference": by_delong["difference"],
        "low": ends["auc"][0],
        "high": ends["auc"][1],
        "delong_low": by_delong["low"],
        "delong_high": by_delong["high"],
        "delong_p": by_delong["p"],
        "partial_auc_difference": partial_first - partial_second,
        "partial_auc_low": ends["partial_auc"][0],
        "partial_auc_high": ends["partial_auc"][1],
        "interval_note": note,
    }
