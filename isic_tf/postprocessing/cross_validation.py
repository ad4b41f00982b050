"""Cross-validated predictions of models that are fitted on out-of-fold predictions."""

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from isic_tf.metrics import cluster_bootstrap, roc
from tfrecord_tools import errors

_NUM_FOLDS = 5


def choose_folds(paths, folds, targets, patients):
    """Chooses the folds on which a fit to the others is judged: the files' own, or else five of whole patients.

    Args:
        paths: What each file is called, `[files]`.
        folds: int `[n, files]`.
        targets: 0 or 1, `[n]`.
        patients: Series of text `[n]`, or None where they are unknown.

    Returns:
        int64 `[n]`; and a list of texts that say where the files' folds share patients.

    Raises:
        IsicError: See `read`.
    """
    if len(set(targets)) < 2:
        raise errors.IsicError(
            f"fitting needs benign and malignant images, all {len(targets)} have target {targets[0]}"
        )
    notes = []
    for path, column in zip(paths, folds.T, strict=True):
        shared = 0 if patients is None else (pd.Series(column).groupby(patients.to_numpy()).nunique() > 1).sum()
        if shared:
            notes.append(f"{path}: {shared} patients are in several folds, so it is not quite out of fold")
    chosen = folds[:, 0]
    if notes or (folds != chosen[:, None]).any() or len(set(chosen)) < 2:
        if patients is None:
            reason = "have one fold only" if len(set(folds.ravel())) < 2 else "have different folds"
            raise errors.IsicError(f"{', '.join(paths)} {reason}: give --labels, whose patients are put into folds")
        chosen = _draw_folds(targets, patients)
    for fold in np.unique(chosen):
        if len(set(targets[chosen != fold])) < 2:
            raise errors.IsicError(
                f"outside of fold {fold} there is one class only: too few malignant images to judge a fit"
            )
    return chosen, notes


def _draw_folds(targets, patients):
    count = min(patients[targets == label].nunique() for label in (0, 1))
    if count < 2:
        raise errors.IsicError("judging a fit needs at least two patients with malignant and two with benign images")
    splitter = StratifiedGroupKFold(min(_NUM_FOLDS, count), shuffle=True, random_state=0)
    folds = np.zeros(len(targets), np.int64)
    for fold, (_, held_out) in enumerate(splitter.split(targets, targets, patients)):
        folds[held_out] = fold
    return folds


def cross_predict(fit, apply, scores, targets, folds):
    """Predicts each fold by what was fitted on the others.

    Args:
        fit: Function from scores and targets to anything.
        apply: Function from that and other scores to float `[k]`.
        scores: Float `[n, ...]`.
        targets: 0 or 1, `[n]`.
        folds: int `[n]`.

    Returns:
        float64 `[n]`.
    """
    predicted = np.empty(len(targets))
    for fold in np.unique(folds):
        held_out = folds == fold
        predicted[held_out] = apply(fit(scores[~held_out], targets[~held_out]), scores[held_out])
    return predicted


def describe_interval(known, scores):
    """Writes the 95 % interval over patients of the ROC AUC of scores, float `[n]`; nothing where none are known."""
    if known.patients is None:
        return ""
    resamples = cluster_bootstrap.affordable(known.targets, 1000)
    low, high = roc.roc_auc_interval(known.targets, scores, known.patients, resamples)
    return " too few patients" if low is None else f" [{low:.4f}, {high:.4f}]"
