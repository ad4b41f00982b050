"""Evaluates the probabilities of several classes: each class against the rest, and decisions between the classes."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from scipy import sparse
from sklearn.metrics import average_precision_score

from isic_tf.metrics import class_bootstrap, class_decisions, cluster_bootstrap, roc

_RANKING: dict[Any, cluster_bootstrap.Metric] = {
    "auc": cluster_bootstrap.roc_auc,
    "average_precision": cluster_bootstrap.average_precision,
}
# The figures of a class, and those of the resamples.
_Ranking: TypeAlias = tuple[dict[str, Any], dict[str, np.ndarray]]
_DECISIONS = ("sensitivity", "specificity", "precision", "f1")
_OF_ALL = ("balanced_accuracy", "macro_f1", "accuracy")
# Probability from which an image is called one of several classes that do not exclude each other.
THRESHOLD = 0.5


@dataclasses.dataclass(frozen=True, eq=False)
class ClassPredictions:
    """Probabilities of classes for images whose classes are known.

    Attributes:
        names: Names of the classes, `[c]`.
        truth: bool `[n, c]`, the classes that each image has: one, or any number of them with `multi_label`.
        probabilities: float64 `[n, c]`, from 0 to 1.
        patient: int `[n]`, number of the patient of each image.
        multi_label: Whether an image may have several classes, or none.
    """

    names: Sequence[str]
    truth: np.ndarray
    probabilities: np.ndarray
    patient: np.ndarray
    multi_label: bool = False


def assess(predictions: ClassPredictions, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Computes all figures of the probabilities of several classes.

    Intervals are of 95 % and over resampled patients; both ends are None where a class has too few patients, see
    `cluster_bootstrap.MIN_PATIENTS`. Where each image has one class, the decision is for the most probable one, see
    `class_decisions.decide`; with `multi_label`, for each class with a probability of at least 0.5.

    Args:
        predictions: `ClassPredictions`.
        resamples: Number of resamples.
        seed: Seed of the resampling.

    Returns:
        Dict of plain values, None where a figure cannot be computed:

        - `images`, `patients`, `multi_label`, `resamples`;
        - `macro_auc`, `macro_average_precision`, `balanced_accuracy`, `macro_f1` (means over the classes that have
          images) and `accuracy`, each with `_low` and `_high`; `interval_note`, "" or why these have no interval;
        - `rows`: for each class `class`, `images`, `patients`; `auc`, `average_precision`, `sensitivity`,
          `specificity`, `precision` and `f1`, each with `_low` and `_high`; `partial_auc` (above 80 % sensitivity, at
          most 0.2); and `interval_note`;
        - `confusion`: rows of counts `[c][c + 1]`, the images of each class by the decision, the last one undecided;
          None with `multi_label`.

    Examples:
        >>> truth = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
        >>> probabilities = np.array([[0.9, 0.1], [0.5, 0.5], [0.2, 0.8], [0.4, 0.6]])
        >>> figures = assess(ClassPredictions(["MEL", "NV"], truth, probabilities, np.arange(4)))
        >>> figures["macro_auc"], figures["balanced_accuracy"], figures["confusion"]
        (1.0, 0.75, [[1, 0, 1], [0, 2, 0]])
    """
    resamples = cluster_bootstrap.affordable(predictions.patient, resamples)
    notes = [_describe_too_few(predictions, place) for place in range(len(predictions.names))]
    # The means have an interval where each of their classes has one.
    note = next((note for place, note in enumerate(notes) if note and predictions.truth[:, place].any()), "")
    rankings = [_rank(predictions, place, resamples, seed) for place in range(len(predictions.names))]
    decided, resampled = _decide(predictions, resamples, seed)
    rows = []
    for place, (ranking, _) in enumerate(rankings):
        row = {**_count_class(predictions, place), **ranking}
        for figure in _DECISIONS:
            values = None if notes[place] else resampled[figure][place]
            row.update(_with_interval(figure, decided[figure][place], values))
        rows.append({**row, "interval_note": notes[place]})
    means = _average(rankings, bool(note))
    for figure in _OF_ALL:
        means.update(_with_interval(figure, decided[figure], None if note else resampled[figure]))
    return {
        "images": len(predictions.truth),
        "patients": len(np.unique(predictions.patient)),
        "multi_label": predictions.multi_label,
        "resamples": resamples,
        **means,
        "interval_note": note,
        "rows": rows,
        "confusion": _confusion(predictions),
    }


def _count_class(predictions: ClassPredictions, place: int) -> dict[str, Any]:
    own = predictions.truth[:, place]
    return {
        "class": predictions.names[place],
        "images": int(own.sum()),
        "patients": _count_patients(predictions, own),
    }


def _average(rankings: Sequence[_Ranking], without_interval: bool) -> dict[str, Any]:
    """Averages the figures of `_RANKING` over the classes that have them."""
    found: dict[str, Any] = {}
    for figure in _RANKING:
        ranked = [(row[figure], sampled[figure]) for row, sampled in rankings if row[figure] is not None]
        mean = np.mean([value for value, _ in ranked]) if ranked else np.nan
        values = np.mean([each for _, each in ranked], axis=0) if ranked and not without_interval else None
        found.update(_with_interval(f"macro_{figure}", mean, values))
    return found


def _count_patients(predictions: ClassPredictions, rows: np.ndarray) -> int:
    return len(np.unique(predictions.patient[rows]))


def _describe_too_few(predictions: ClassPredictions, place: int) -> str:
    """Returns why there is no interval for a class; "" where there are enough patients with and without it."""
    own = predictions.truth[:, place]
    for rows, noun in ((own, f"of class {predictions.names[place]}"), (~own, "of the other classes")):
        patients = _count_patients(predictions, rows)
        if patients < cluster_bootstrap.MIN_PATIENTS:
            needed = cluster_bootstrap.MIN_PATIENTS
            return f"no interval: {patients} patients with images {noun}, at least {needed} needed"
    return ""


def _with_interval(name: str, value: Any, resampled: np.ndarray | None) -> dict[str, float | None]:
    """Returns a figure and the ends of its interval, None where it is NaN."""
    known = bool(np.isfinite(value))
    low, high = cluster_bootstrap.interval(resampled) if known and resampled is not None else (None, None)
    return {name: float(value) if known else None, f"{name}_low": low, f"{name}_high": high}


def _rank(predictions: ClassPredictions, place: int, resamples: int, seed: int) -> _Ranking:
    """Computes the figures of one class against the rest, and those of the resamples, which all classes share."""
    targets = predictions.truth[:, place].astype(np.int64)
    scores = predictions.probabilities[:, place]
    if len(np.unique(targets)) < 2:
        names = [f"{name}{end}" for name in _RANKING for end in ("", "_low", "_high")]
        return dict.fromkeys([*names, "partial_auc"]), {}
    resampled = cluster_bootstrap.resample(targets, scores, predictions.patient, _RANKING, resamples, seed)
    figures = {"auc": roc.roc_auc(targets, scores), "average_precision": average_precision_score(targets, scores)}
    found: dict[str, Any] = {}
    for name, value in figures.items():
        found.update(_with_interval(name, value, resampled[name]))
    return {**found, "partial_auc": roc.partial_roc_auc(targets, scores)}, resampled


def _decide(
    predictions: ClassPredictions, resamples: int, seed: int
) -> tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]:
    """Computes the figures of the decisions, `[c]` or `[]`, and those of the resamples, with one axis more."""
    classes = len(predictions.names)
    if predictions.multi_label:
        called = predictions.probabilities >= THRESHOLD
        parts = [predictions.truth & called, predictions.truth, called, np.ones((len(called), 1), bool)]
        images = sparse.csr_array(np.concatenate(parts, axis=1).T.astype(np.float64))
    else:
        decisions = class_decisions.decide(predictions.probabilities)
        cells = class_decisions.number_cells(predictions.truth.argmax(axis=1), decisions, classes)
        shape = (classes * (classes + 1), len(cells))
        images = sparse.csr_array((np.ones(len(cells)), (cells, np.arange(len(cells)))), shape)

    def compute(counts: np.ndarray) -> dict[str, np.ndarray]:
        if not predictions.multi_label:
            return class_decisions.compute_rates(counts.reshape(classes, classes + 1, -1))
        correct, own, called, (total,) = np.split(counts, [classes, 2 * classes, 3 * classes])
        return class_decisions.compute_label_rates(correct, own, called, total)

    figures = {name: values[..., 0] for name, values in compute(class_bootstrap.count_images(images)).items()}
    return figures, class_bootstrap.resample(images, predictions.patient, compute, resamples, seed)


def _confusion(predictions: ClassPredictions) -> list[list[int]] | None:
    if predictions.multi_label:
        return None
    decisions = class_decisions.decide(predictions.probabilities)
    truth = predictions.truth.argmax(axis=1)
    return class_decisions.confusion_matrix(truth, decisions, len(predictions.names)).tolist()
