"""Everything that `isic_tf.evaluate` says of one prediction file, as one dict of plain values."""

import pandas as pd
from sklearn.metrics import average_precision_score

from isic_tf.evaluation import shortcut_audit, subgroups, within_patient_ranking
from isic_tf.metrics import calibration_metrics, cluster_bootstrap, delong, operating_points, summaries

# Where the operating point of the confusion table lies unless it is chosen.
SENSITIVITY = 0.9
_CURVE = {
    "auc": cluster_bootstrap.roc_auc,
    "partial_auc": cluster_bootstrap.partial_auc,
    "average_precision": cluster_bootstrap.average_precision,
}


def assess(table, threshold=None, specificity=None, resamples=1000, seed=0):
    """Judges predictions in every way that the project knows.

    All intervals are of 95 % and come from resampled patients, but for DeLong's. What cannot be told is None, and a
    `note` beside it says why; else the note is "". The dict holds plain Python values only, fit for
    JSON.

    Args:
        table: DataFrame with `image_name`, `patient_id` ("" where unknown), `target` (0 or 1) and `prediction` (in
            [0, 1]); and, where known, with `fold`, `source`, `sex`, `age_approx`, `anatom_site_general_challenge`
            (text, "" where unknown), `width`, `height` and `bytes` (number, -1 where unknown).
        threshold: Prediction from which an image is called malignant in the confusion table and the groups; None for
            one that is found.
        specificity: Least specificity of the threshold to find; None for the default, 90 % sensitivity.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict of

        - `summary`: see `summarize`.
        - `calibration`: see `calibration_metrics.assess`.
        - `operating_points`: list of six dicts, see `operating_points.operating_points`.
        - `confusion`: see `operating_points.confusion`, and `chosen`, in words, how the threshold was.
        - `folds`: see `subgroups.folds`, and `groups`: see `subgroups.groups`, at the threshold of `confusion`.
        - `patients`: see `within_patient_ranking.rank`.
        - `shortcuts`: see `shortcut_audit.audit`.

    Raises:
        ValueError: There is one class only, or a prediction is no finite number.
    """
    resamples = cluster_bootstrap.affordable(table["target"], resamples)
    summary = summaries.figures(table)
    table = table.assign(patient=pd.factorize(summaries.group_by_patient(table))[0])
    targets, scores, patient = (table[name].to_numpy() for name in ("target", "prediction", "patient"))
    resampled = cluster_bootstrap.resample(
        targets, scores, patient, _CURVE | operating_points.figures(), resamples, seed
    )
    threshold, chosen = choose(targets, scores, threshold, specificity)
    return {
        "summary": summarize(summary, table, resampled, resamples),
        "calibration": calibration_metrics.assess(targets, scores, patient),
        "operating_points": operating_points.operating_points(targets, scores, resampled),
        "confusion": {**operating_points.confusion(targets, scores, threshold), "chosen": chosen},
        "folds": subgroups.folds(table, threshold, resamples, seed),
        "groups": subgroups.groups(table, threshold, resamples, seed),
        "patients": within_patient_ranking.rank(table, resamples, seed),
        "shortcuts": shortcut_audit.audit(table, resamples, seed),
    }


def summarize(summary, table, resampled, resamples):
    """Joins what `summaries.figures` found with intervals and the figures that only a whole assessment needs.

    Returns:
        Dict of `images`, `malignant`, `patients`, `prevalence`; `auc`, `auc_low`, `auc_high`, `auc_delong_low`,
        `auc_delong_high` (images taken as independent); `partial_auc` (above 80 % sensitivity, at most 0.2),
        `partial_auc_low`, `partial_auc_high`; `average_precision`, `average_precision_low`, `average_precision_high`;
        `resamples`.
    """
    targets, scores = table["target"].to_numpy(), table["prediction"].to_numpy()
    low, high = delong.interval(targets, scores)
    found = {**summary, "prevalence": float(targets.mean()), "auc_delong_low": low, "auc_delong_high": high}
    found["average_precision"] = float(average_precision_score(targets, scores))
    for name in _CURVE:
        found[f"{name}_low"], found[f"{name}_high"] = cluster_bootstrap.interval(resampled[name])
    return {**found, "resamples": resamples}


def choose(targets, scores, threshold=None, specificity=None):
    """Chooses the threshold of the confusion table.

    Returns:
        The threshold and, in words, how it was chosen.
    """
    if threshold is not None:
        return threshold, "as given"
    held, level = ("sensitivity", SENSITIVITY) if specificity is None else ("specificity", specificity)
    threshold = operating_points.find(cluster_bootstrap.count(targets, scores), held, level)
    return threshold, f"at least {100 * level:.4g} % {held} on these images"
