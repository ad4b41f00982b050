"""Whether one prediction file is better than another on the same images."""

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, delong, roc, summaries


def compare(first, second, resamples=1000, seed=0):
    """Compares the ROC AUCs of two prediction files.

    Args:
        first: DataFrame with `image_name`, `patient_id`, `target` and `prediction`, in order of `image_name`.
        second: Likewise, of the same images.
        resamples: Number of resamples of the patients.
        seed: Seed of the resampling.

    Returns:
        Dict of `difference`, first less second; `low` and `high`, its 95 % interval over patients; `delong_low`,
        `delong_high` and `delong_p` (of two sides), by DeLong's test, which takes images as independent, None where it
        cannot tell; and `partial_auc_difference`, `partial_auc_low`, `partial_auc_high`, likewise over patients.
    """
    targets, patient = first["target"].to_numpy(), pd.factorize(summaries.group_by_patient(first))[0]
    scores = np.stack([table["prediction"].to_numpy() for table in (first, second)])
    figures = {"auc": cluster_bootstrap.roc_auc, "partial_auc": cluster_bootstrap.partial_auc}
    resamples = cluster_bootstrap.affordable(targets, resamples)
    resampled = cluster_bootstrap.resample(targets, scores, patient, figures, resamples, seed)
    ends = {name: cluster_bootstrap.interval(one - other) for name, (one, other) in resampled.items()}
    by_delong = delong.compare(targets, *scores)
    partial = [roc.partial_roc_auc(targets, row) for row in scores]
    return {
        "difference": by_delong["difference"],
        "low": ends["auc"][0],
        "high": ends["auc"][1],
        "delong_low": by_delong["low"],
        "delong_high": by_delong["high"],
        "delong_p": by_delong["p"],
        "partial_auc_difference": partial[0] - partial[1],
        "partial_auc_low": ends["partial_auc"][0],
        "partial_auc_high": ends["partial_auc"][1],
    }
