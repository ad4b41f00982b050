"""Cross-validated predictions of models that are fitted on out-of-fold predictions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.metrics import cluster_bootstrap, roc
from tfrecord_tools import errors

_NUM_FOLDS = 5


def choose_folds(
    paths: Sequence[str], folds: np.ndarray, targets: np.ndarray, patients: pd.Series | None
) -> tuple[np.ndarray, list[str]]:
    """Chooses the folds for cross-validation: those of the files, or five new ones with all images of a patient in one.

    Args:
        paths: What each file is called in errors and notes, `[files]`.
        folds: int `[n, files]`.
        targets: 0 or 1, `[n]`.
        patients: Text `[n]`; None where they are unknown.

    Returns:
        int64 `[n]`; and a list of notes on files whose folds share patients.

    Raises:
        IsicError: There is one class only, in all images or outside of a fold; the files have one fold only, or
            different ones, and the patients are unknown; or too few patients have images of a class.
    """
    if len(set(targets)) < 2:
        raise errors.IsicError(
            f"fitting needs benign and malignant images, all {len(targets)} have target {targets[0]}; give "
            "predictions of images of both classes"
        )
    notes = _find_shared_patients(paths, folds, patients)
    chosen = folds[:, 0]
    if notes or (folds != chosen[:, None]).any() or len(set(chosen)) < 2:
        if patients is None:
            reason = "have one fold only" if len(set(folds.ravel())) < 2 else "have different folds"
            raise errors.IsicError(f"{', '.join(paths)} {reason}; give --labels with patients, to make new folds")
        chosen = _make_folds(targets, patients)
    for fold in np.unique(chosen):
        if len(set(targets[chosen != fold])) < 2:
            raise errors.IsicError(
                f"outside of fold {fold} there is one class only: too few malignant images for cross-validation; give "
                "predictions of more patients"
            )
    return chosen, notes


def _find_shared_patients(paths: Sequence[str], folds: np.ndarray, patients: pd.Series | None) -> list[str]:
    """Returns a note per file in which patients have images in several folds."""
    if patients is None:
        return []
    notes = []
    for path, column in zip(paths, folds.T, strict=True):
        shared = (pd.Series(column).groupby(patients.to_numpy()).nunique() > 1).sum()
        if shared:
            notes.append(
                f"{path}: {shared} patients are in several folds, so its predictions are slightly optimistic; new "
                "folds are used"
            )
    return notes


def _make_folds(targets: np.ndarray, patients: pd.Series) -> np.ndarray:
    """Splits patients into at most five folds with similar prevalence."""
    count = min(patients[targets == label].nunique() for label in (0, 1))
    if count < 2:
        raise errors.IsicError(
            "cross-validation needs at least two patients with malignant and two with benign images; give predictions "
            "of more patients"
        )
    # Most users of this module need no scikit-learn, whose import takes a quarter of a second.
    from sklearn.model_selection import StratifiedGroupKFold

    splitter = StratifiedGroupKFold(min(_NUM_FOLDS, count), shuffle=True, random_state=0)
    folds = np.zeros(len(targets), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(targets, targets, patients)):
        folds[held_out] = fold
    return folds


def cross_predict(
    fit: Callable[[np.ndarray, np.ndarray], Any],
    apply: Callable[[Any, np.ndarray], np.ndarray],
    scores: np.ndarray,
    targets: np.ndarray,
    folds: np.ndarray,
) -> np.ndarray:
    """Predicts each fold by what was fitted on the others.

    Args:
        fit: Function from scores and targets to anything.
        apply: Function from the result of `fit` and other scores to float `[k]`.
        scores: Float `[n, ...]`.
        targets: 0 or 1, `[n]`.
        folds: int `[n]`.

    Returns:
        float64 `[n]`.

    Examples:
        >>> fit = lambda scores, targets: scores.mean()
        >>> apply = lambda mean, scores: scores - mean
        >>> cross_predict(fit, apply, np.array([1.0, 2.0, 4.0]), np.array([0, 1, 0]), np.array([0, 0, 1]))
        array([-3. , -2. ,  2.5])
    """
    predicted = np.empty(len(targets))
    for fold in np.unique(folds):
        held_out = folds == fold
        fitted = fit(scores[~held_out], targets[~held_out])
        predicted[held_out] = apply(fitted, scores[held_out])
    return predicted


def describe_interval(known: Any, scores: np.ndarray) -> str:
    """Formats the 95 % interval over patients of the ROC AUC of scores.

    Args:
        known: See `out_of_fold.OutOfFold`.
        scores: Float `[n]`.

    Returns:
        Text that begins with a space; "" where the patients are unknown.
    """
    if known.patients is None:
        return ""
    resamples = cluster_bootstrap.affordable(known.targets, 1000)
    low, high = roc.roc_auc_interval(known.targets, scores, known.patients, resamples)
    if low is None:
        return f" {cluster_bootstrap.describe_too_few(known.targets, known.patients)}"
    return f" [{low:.4f}, {high:.4f}]"
