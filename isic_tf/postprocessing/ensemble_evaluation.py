"""Evaluates ensembles by cross-validation, next to the best single file and the plain mean."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, roc
from isic_tf.postprocessing import cross_validation, ensembling
from isic_tf.postprocessing.ensemble_config import UNFITTED
from isic_tf.postprocessing.out_of_fold import OutOfFold

_LOG = logging.getLogger(__name__)

_RESAMPLES = 1000


@dataclasses.dataclass(frozen=True)
class EnsembleEvaluation:
    """A blend that was fitted on all out-of-fold predictions, and its cross-validation.

    Args:
        blend: The fitted blend.
        predictions: float64 `[n]`, of each fold by a blend that was fitted on the others.
        metrics: DataFrame, one row per candidate: `name` (`best single file`, `mean`, the method), `auc_in_sample` and
            `auc_nested` (ROC AUC where it was fitted, and by cross-validation).
    """

    blend: ensembling.Blend
    predictions: np.ndarray
    metrics: pd.DataFrame


def evaluate_ensemble(
    known: OutOfFold, blend: ensembling.Blend, fitted: bool, paths: Sequence[str]
) -> EnsembleEvaluation:
    """Evaluates a blend on patients that it was not fitted on, and logs a table.

    Args:
        known: Out-of-fold predictions, see `out_of_fold.read`.
        blend: The blend; where it is to be fitted, only its method is used.
        fitted: Whether it is to be fitted, where its method has weights.
        paths: Out-of-fold files, `[files]`.

    Returns:
        The fitted blend, its cross-validated predictions, and the ROC AUC of all candidates.
    """
    _log_header(known)
    candidates = {"best single file": (ensembling.Blend("best"), True), "mean": (ensembling.Blend("mean"), False)}
    candidates[blend.method] = (blend, fitted)
    rows = []
    for name, (candidate, to_fit) in candidates.items():
        chosen, predictions = predict_nested(known, candidate, to_fit)
        in_sample = roc.roc_auc(known.targets, ensembling.combine(known.scores, chosen))
        nested = roc.roc_auc(known.targets, predictions)
        rows.append({"name": name, "auc_in_sample": in_sample, "auc_nested": nested})
        interval = cross_validation.describe_interval(known, predictions)
        _LOG.info(f"{name:<16}   {in_sample:.4f}  {nested:.4f} {interval}")
    if known.patients is None:
        _LOG.info("note: intervals over patients need --labels")
    if blend.method != "mean":
        _log_difference(known, predictions, blend.method)
    _log_files(known, chosen, paths)
    return EnsembleEvaluation(chosen, predictions, pd.DataFrame(rows))


def _log_header(known: OutOfFold) -> None:
    for note in known.notes:
        _LOG.warning(f"note: {note}")
    counts = f"{len(known.names)} images, {known.targets.sum()} malignant"
    patients = "" if known.patients is None else f", {len(set(known.patients))} patients"
    _LOG.info(f"{counts}{patients}; nested: each of {len(set(known.folds))} folds is predicted by a fit on the others")
    interval = "" if known.patients is None else " 95 % interval over patients"
    _LOG.info(f"{'ROC AUC':<16}in sample  nested {interval}")


def _log_difference(known: OutOfFold, predictions: np.ndarray, name: str) -> None:
    """Logs the difference of the ROC AUC to that of the plain mean, with its interval over the same patients."""
    mean = ensembling.combine(known.scores, ensembling.Blend("mean"))
    difference = roc.roc_auc(known.targets, predictions) - roc.roc_auc(known.targets, mean)
    if known.patients is None:
        low: float | None = difference
        interval = ""
    else:
        low, interval = _difference_interval(known, np.stack([predictions, mean]))
    _LOG.info(f"{name} minus mean: {difference:+.4f}{interval}")
    if low is None or low <= 0:
        _LOG.info("the difference to the plain mean may be due to chance; --method=mean cannot overfit")


def _difference_interval(known: OutOfFold, pair: np.ndarray) -> tuple[float | None, str]:
    """Returns the lower end of the 95 % interval of the difference of two ROC AUCs, and the interval as text."""
    resamples = cluster_bootstrap.affordable(known.targets, _RESAMPLES)
    metrics = {"auc": cluster_bootstrap.roc_auc}
    resampled = cluster_bootstrap.resample(known.targets, pair, known.patients, metrics, resamples)["auc"]
    low, high = cluster_bootstrap.interval(resampled[0] - resampled[1])
    if low is None:
        return low, f" ({cluster_bootstrap.describe_too_few(known.targets, known.patients)})"
    return low, f" [{low:+.4f}, {high:+.4f}]"


def _log_files(known: OutOfFold, blend: ensembling.Blend, paths: Sequence[str]) -> None:
    """Logs the weight of each file (of a stack, the coefficient of its logits) and its own ROC AUC."""
    kind = "coefficient" if blend.method == "stack" else "weight"
    weights = blend.weights if blend.weights is not None else np.full(len(paths), 1 / len(paths))
    _LOG.info(f"{kind:>11}  ROC AUC  file")
    for path, weight, scores in zip(paths, weights, known.scores.T, strict=True):
        _LOG.info(f"{weight:11.4f}   {roc.roc_auc(known.targets, scores):.4f}  {path}")
    if blend.method == "stack":
        _LOG.info(f"{blend.intercept:11.4f}           (intercept)")


def predict_nested(known: OutOfFold, blend: ensembling.Blend, fitted: bool) -> tuple[ensembling.Blend, np.ndarray]:
    """Predicts each fold by a blend that was fitted on the others.

    Blends with other weights have other scales, but are compared over all folds. So scores are mapped to the scale of
    the blend that was fitted on all images, by the share of images with a lower score under either. The order within a
    fold is kept.

    Args:
        known: Out-of-fold predictions, see `out_of_fold.read`.
        blend: The blend; where it is to be fitted, only its method is used.
        fitted: Whether it is to be fitted.

    Returns:
        The blend, fitted on all images; and its cross-validated predictions, float64 `[n]`.
    """
    if not fitted or blend.method in UNFITTED:
        return blend, ensembling.combine(known.scores, blend)
    final = ensembling.fit(blend.method, known.scores, known.targets)
    final_scale = np.sort(ensembling.combine(known.scores, final))

    def fit(scores: np.ndarray, targets: np.ndarray) -> tuple[ensembling.Blend, np.ndarray]:
        partial = ensembling.fit(blend.method, scores, targets)
        return partial, np.sort(ensembling.combine(scores, partial))

    def apply(fitted_part: tuple[ensembling.Blend, np.ndarray], scores: np.ndarray) -> np.ndarray:
        partial, own_scale = fitted_part
        has_same_weights = np.array_equal(np.asarray(partial.weights), np.asarray(final.weights))
        if has_same_weights and partial.intercept == final.intercept:
            return ensembling.combine(scores, final)
        shares = np.interp(ensembling.combine(scores, partial), *_shares_of_scale(own_scale))
        final_scores, final_shares = _shares_of_scale(final_scale)
        return np.interp(shares, final_shares, final_scores)

    return final, cross_validation.cross_predict(fit, apply, known.scores, known.targets, known.folds)


def _shares_of_scale(scale: np.ndarray) -> tuple[list[float], list[float]]:
    """Returns the points of the function from scores to the share of images below: 0, the sorted scores, and 1.

    Each score lies in the middle of its step, which leaves room on both sides for scores beyond those fitted on.
    """
    middles = (np.arange(len(scale)) + 0.5) / len(scale)
    return [0, *scale, 1], [0, *middles, 1]
