"""Computes all figures of one prediction file, as one dict of plain values."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score

from isic_tf.evaluation import shortcut_audit, subgroups, user_groups, within_patient_ranking
from isic_tf.evaluation.classes import class_predictions, class_truth
from isic_tf.evaluation.config import SENSITIVITY
from isic_tf.evaluation.unlike import unlike_images
from isic_tf.metrics import (
    calibration_metrics,
    challenge_scores,
    class_metrics,
    cluster_bootstrap,
    delong,
    operating_points,
    summaries,
)

# Sensitivity of the operating point, unless it is chosen.
_CURVE_FIGURES: dict[Any, cluster_bootstrap.Metric] = {
    "auc": cluster_bootstrap.roc_auc,
    "partial_auc": cluster_bootstrap.partial_auc,
    "average_precision": cluster_bootstrap.average_precision,
}


def assess(
    table: pd.DataFrame,
    threshold: float | None = None,
    specificity: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
    *,
    truth: class_truth.ClassTruth | None = None,
    groups: Sequence[str] = (),
) -> dict[str, Any]:
    """Evaluates predictions: ranking, calibration, operating points, subgroups, patients and shortcuts.

    All intervals are of 95 % and over resampled patients, except DeLong's. A figure that cannot be computed is None,
    and the `note` next to it is the reason; else the note is "". The dict holds plain Python values only, fit for JSON.

    Args:
        table: DataFrame with `image_name`, `patient_id` ("" where unknown), `target` (0 or 1) and `prediction` (in
            [0, 1]); and, where known, with `fold`, `source`, `sex`, `age_approx`, `anatom_site_general_challenge`
            (text, "" where unknown), `width`, `height` and `bytes` (number, -1 where unknown), `unlike` (float, NaN
            where unknown).
        threshold: Prediction from which an image is called malignant in the confusion matrix and the groups; None to
            choose it.
        specificity: Minimum specificity of the chosen threshold; None for the default, 90 % sensitivity.
        resamples: Number of resamples.
        seed: Seed of the resampling.
        truth: The true classes; None to evaluate the single prediction only.
        groups: Names of the columns of groups of the user's own, see `user_groups.add_columns`.

    Returns:
        Dict of

        - `summary`: see `summarize`.
        - `calibration`: see `calibration_metrics.assess`.
        - `operating_points`: list of six dicts, see `operating_points.operating_points`.
        - `confusion`: see `operating_points.confusion`, and `chosen`: how the threshold was chosen, as text.
        - `folds`: see `subgroups.folds`, and `groups`: see `subgroups.groups`, at the threshold of `confusion`;
          after these groups those of the user's own, see `user_groups.evaluate`.
        - `patients`: see `within_patient_ranking.rank`.
        - `shortcuts`: see `shortcut_audit.audit`.
        - `unlike`, where the table has values of it: see `unlike_images.assess`.
        - `classes`, with `truth` and where the table has probabilities of classes: see `assess_classes`.

    Raises:
        IsicError: There is one class only, or a prediction is not finite.
    """
    resamples = cluster_bootstrap.affordable(table["target"], resamples)
    table = table.assign(patient=pd.factorize(summaries.group_by_patient(table))[0])
    figures = summaries.figures(table, table["patient"])
    targets = table["target"].to_numpy()
    scores = table["prediction"].to_numpy()
    patient = table["patient"].to_numpy()
    functions: dict[Any, cluster_bootstrap.Metric] = {**_CURVE_FIGURES, **operating_points.figures()}
    resampled = cluster_bootstrap.resample(targets, scores, patient, functions, resamples, seed)
    threshold, chosen = choose(targets, scores, threshold, specificity)
    found = {
        "summary": summarize(figures, table, resampled, resamples),
        "calibration": calibration_metrics.assess(targets, scores, patient),
        "operating_points": operating_points.operating_points(targets, scores, resampled),
        "confusion": {**operating_points.confusion(targets, scores, threshold), "chosen": chosen},
        "folds": subgroups.folds(table, threshold, resamples, seed),
        "groups": [
            *subgroups.groups(table, threshold, resamples, seed),
            *user_groups.evaluate(table, groups, threshold, resamples, seed),
        ],
        "patients": within_patient_ranking.rank(table, resamples, seed),
        "shortcuts": shortcut_audit.audit(table, resamples, seed),
    }
    unlike = unlike_images.assess(table, threshold, groups, resamples, seed)
    if unlike:
        found["unlike"] = unlike
    predictions = class_predictions.select_predictions(table, truth.classes) if truth else None
    if truth and predictions:
        found["classes"] = assess_classes(predictions, truth, resamples, seed)
    return found


def assess_classes(
    predictions: class_metrics.ClassPredictions, truth: class_truth.ClassTruth, resamples: int = 1000, seed: int = 0
) -> dict[str, Any]:
    """Evaluates the probabilities of several classes.

    Args:
        predictions: `ClassPredictions`.
        truth: Where the true classes come from.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict, see `class_metrics.assess`, with `positive_classes`, `truth` (where the true classes come from, as text)
        and, where each image has one class, `challenge`, see `challenge_scores.score`, else None.
    """
    names, classes, probabilities = predictions.names, predictions.truth, predictions.probabilities
    challenge = None if predictions.multi_label else challenge_scores.score(names, classes, probabilities)
    return {
        "truth": truth.described,
        "positive_classes": list(truth.classes.positive),
        **class_metrics.assess(predictions, resamples, seed),
        "challenge": challenge,
    }


def summarize(
    figures: dict[str, Any], table: pd.DataFrame, resampled: dict[Any, np.ndarray], resamples: int
) -> dict[str, Any]:
    """Adds intervals, and the figures that only a complete evaluation needs, to those of `summaries.figures`.

    Args:
        figures: See `summaries.figures`.
        table: See `assess`.
        resampled: See `cluster_bootstrap.resample`.
        resamples: Number of resamples.

    Returns:
        Dict of `images`, `malignant`, `patients`, `interval_note` ("", or why there are no intervals, see
        `cluster_bootstrap.describe_too_few`), `prevalence`; `auc`, `auc_low`, `auc_high`, `auc_delong_low`,
        `auc_delong_high` (images taken as independent); `partial_auc` (above 80 % sensitivity, at most 0.2),
        `partial_auc_low`, `partial_auc_high`; `average_precision`, `average_precision_low`, `average_precision_high`;
        `resamples`.
    """
    targets = table["target"].to_numpy()
    scores = table["prediction"].to_numpy()
    note = cluster_bootstrap.describe_too_few(targets, table["patient"])
    low, high = (None, None) if note else delong.interval(targets, scores)
    found = {
        **figures,
        "interval_note": note,
        "prevalence": float(targets.mean()),
        "auc_delong_low": low,
        "auc_delong_high": high,
        "average_precision": float(average_precision_score(targets, scores)),
    }
    for name in _CURVE_FIGURES:
        found[f"{name}_low"], found[f"{name}_high"] = cluster_bootstrap.interval(resampled[name])
    return {**found, "resamples": resamples}


def choose(
    targets: np.ndarray, scores: np.ndarray, threshold: float | None = None, specificity: float | None = None
) -> tuple[float | None, str]:
    """Chooses the threshold of the confusion matrix.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        threshold: See `assess`.
        specificity: See `assess`.

    Returns:
        The threshold (None where none has that specificity) and, as text, how it was chosen.
    """
    if threshold is not None:
        return threshold, "as given"
    held = "sensitivity" if specificity is None else "specificity"
    level = SENSITIVITY if specificity is None else specificity
    found = operating_points.find(cluster_bootstrap.count(targets, scores), held, level)
    return found, f"at least {100 * level:.4g} % {held} on these images"
