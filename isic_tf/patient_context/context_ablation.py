"""Evaluates what patient context adds on held-out patients, and whether their other lesions are the cause."""

import concurrent.futures
import logging
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from tqdm import tqdm

from isic_tf.distribution import cpu
from isic_tf.metrics import paired_auc_test, roc
from isic_tf.patient_context import second_stage
from isic_tf.patient_context.config import RELATIVE_METHODS
from isic_tf.patient_context.lesion_features import Lesions
from isic_tf.postprocessing import cross_validation
from isic_tf.postprocessing.out_of_fold import OutOfFold

_LOG = logging.getLogger(__name__)

# Smallest gain, in ROC AUC, of shuffled patients that is worth a warning, times two.
_MIN_GAIN = 0.002
# Keys of the figures, and what the log calls them.
_LABELS = {"stage one": "image level", "metadata alone": "metadata only", "context": "patient context"}


def evaluate_gain(
    known: OutOfFold, given: Lesions, options: second_stage.StageOptions, permutations: int
) -> tuple[np.ndarray, dict[str, Any]]:
    """Evaluates a patient-context model on patients it was not fitted on, and logs the figures.

    It is compared with the image-level scores and with a model of score and metadata only. As a control, it is
    evaluated with the patients shuffled among the images: what context adds must disappear.

    Args:
        known: See `out_of_fold.read`.
        given: Lesions of the same images.
        options: How to fit.
        permutations: How often the patients are shuffled.

    Returns:
        Predictions, float64 `[n]`, each fold by a model fitted on the other folds; and a dict of figures for JSON:
        ROC AUCs, gains with 95 % intervals over patients, and the gains of shuffled patients.

    Raises:
        IsicError: See `second_stage.fit_stage`.
    """
    start = time.monotonic()
    _log_head(known, given)
    scores = _predict(known, given, options)
    figures: dict[str, Any] = {
        name: {"mean_of_folds": _mean_of_folds(known, own), "auc": roc.roc_auc(known.targets, own)}
        for name, own in scores.items()
    }
    last = list(scores)[-1]
    for name in list(scores)[:-1]:
        gain = _compare(known, scores[last], scores[name], f"{_LABELS[last]} minus {_LABELS[name]}")
        figures[f"{last} less {name}"] = gain
    if options.patient_context and permutations and options.method not in RELATIVE_METHODS:
        figures["shuffled"] = shuffle(known, given, options, scores, permutations)
    _LOG.info(f"evaluated in {time.monotonic() - start:.0f} s")
    return scores[last], figures


def _log_head(known: OutOfFold, given: Lesions) -> None:
    sizes = np.bincount(pd.factorize(given.patients)[0])
    _LOG.info(
        f"{len(known.names)} images, {known.targets.sum()} malignant; {len(sizes)} patients with up to {sizes.max()} "
        f"images, {(sizes == 1).sum()} with one"
    )
    _LOG.info(f"nested evaluation: each of {len(set(known.folds))} folds by a model fitted on the other folds")
    _LOG.info(f"{'ROC AUC':<24}mean of folds  all images  95 % interval over patients")


def _predict(known: OutOfFold, given: Lesions, options: second_stage.StageOptions) -> dict[str, np.ndarray]:
    """Predicts without and with what is evaluated; logs a row for each. The last is the result."""
    scores = {"stage one": known.scores.mean(axis=1)}
    _log_row(_LABELS["stage one"], known, scores["stage one"])
    if options.method not in RELATIVE_METHODS:
        alone = second_stage.StageOptions(method="boost", patient_context=False, seed=options.seed)
        scores["metadata alone"] = second_stage.predict_nested(given, known.targets, known.folds, alone)
        _log_row("with " + _LABELS["metadata alone"], known, scores["metadata alone"])
    if options.patient_context:
        scores["context"] = second_stage.predict_nested(given, known.targets, known.folds, options)
        _log_row("with " + _LABELS["context"], known, scores["context"])
    return scores


def _log_row(name: str, known: OutOfFold, scores: np.ndarray) -> None:
    mean = _mean_of_folds(known, scores)
    auc = roc.roc_auc(known.targets, scores)
    _LOG.info(f"{name:<24}{mean:13.4f}  {auc:10.4f} {cross_validation.describe_interval(known, scores)}")


def _mean_of_folds(known: OutOfFold, scores: np.ndarray) -> float:
    """Computes the mean ROC AUC of the folds with both classes; scores of different fits are not compared."""
    aucs = []
    for fold in np.unique(known.folds):
        own = known.folds == fold
        if len(set(known.targets[own])) == 2:
            aucs.append(roc.roc_auc(known.targets[own], scores[own]))
    return float(np.mean(aucs or [np.nan]))


def _compare(known: OutOfFold, scores: np.ndarray, others: np.ndarray, name: str) -> dict[str, float | None]:
    """Logs by how much the ROC AUC is greater than that of other scores; returns the figures."""
    table = pd.DataFrame({"image_name": known.names, "patient_id": known.patients, "target": known.targets})
    found = paired_auc_test.compare(table.assign(prediction=scores), table.assign(prediction=others))
    gain = _mean_of_folds(known, scores) - _mean_of_folds(known, others)
    interval = f"({found['interval_note']})"
    if found["low"] is not None:
        interval = f"[{found['low']:+.4f}, {found['high']:+.4f}]"
    p_value = "" if found["delong_p"] is None else f", p by DeLong {found['delong_p']:.2g}"
    _LOG.info(f"{name}: {gain:+.4f} in the mean of folds, {found['difference']:+.4f} {interval} in all images{p_value}")
    return {"mean_of_folds": gain, **{key: found[key] for key in ("difference", "low", "high", "delong_p")}}


def shuffle(
    known: OutOfFold,
    given: Lesions,
    options: second_stage.StageOptions,
    scores: Mapping[str, np.ndarray],
    count: int,
) -> dict[str, Any]:
    """Evaluates again with the patients of each fold shuffled among its images, as a control; logs the result.

    Args:
        known: See `evaluate_gain`.
        given: See `evaluate_gain`.
        options: See `evaluate_gain`.
        scores: Dict of `metadata alone` and `context`, float `[n]`.
        count: How often to shuffle.

    Returns:
        Dict of `gains`, the gain over metadata alone in the mean of folds for each shuffle; `gain`, that of the true
        patients; and `p`, the fraction of all these gains that is at least the true one.
    """
    rng = np.random.default_rng(options.seed)
    base = _mean_of_folds(known, scores["metadata alone"])
    shuffled = [given._replace(patients=_permute(given.patients, known.folds, rng)) for _ in range(count)]

    def compute_gain(lesions: Lesions) -> float:
        found = second_stage.predict_nested(lesions, known.targets, known.folds, options)
        return _mean_of_folds(known, found) - base

    # Boosting releases Python's lock.
    threads = cpu.count_cores() if options.method == "boost" else 1
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        gains = list(tqdm(pool.map(compute_gain, shuffled), "shuffling patients", count, unit="time", disable=None))
    gain = _mean_of_folds(known, scores["context"]) - base
    p_value = (1 + sum(one >= gain for one in gains)) / (1 + count)
    spread = f"from {min(gains):+.4f} to {max(gains):+.4f}" if count > 1 else "one shuffle"
    _LOG.info(
        f"control: with patients shuffled among images the gain is {np.mean(gains):+.4f} ({spread}); with the true "
        f"patients {gain:+.4f} (p {p_value:.2g} by permutation)"
    )
    if np.mean(gains) > max(gain, _MIN_GAIN) / 2:
        _LOG.warning("WARNING: shuffled patients gain as well, so the gain is not due to patient context")
    return {"gains": gains, "gain": gain, "p": p_value}


def _permute(patients: np.ndarray, folds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    permuted = patients.copy()
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        permuted[own] = patients[rng.permutation(own)]
    return permuted
