"""Audits shortcuts: how well image size, file size or metadata alone predict the label, without the lesion.

Clinics that see more melanomas have other cameras than those that see fewer. So the size of an image can reveal its
label, and a network can learn the camera instead of the lesion. Such a model will not work elsewhere.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from isic_tf.data import clinical_metadata
from isic_tf.evaluation import subgroups
from isic_tf.metrics import roc

FOLDS = 5
# A shortcut explains much of a model's AUC where it alone comes this far from 0.5 to the model's AUC. A half is a
# convention; evaluating a known confounder alone, then holding it fixed, follows Badgeley et al. (npj Digit Med 2019).
MUCH = 0.5
_FILE_SIZES = 20
# The prevalence of a category is shrunk towards that of all images as if it had this many more images.
_PRIOR = 20
_FIGURES = ("auc", "auc_low", "auc_high", "share")


def audit(table: pd.DataFrame, resamples: int = 1000, seed: int = 0) -> dict[str, Any]:
    """Predicts labels from shortcuts alone, cross-validated over patients, and compares them with the model.

    Args:
        table: DataFrame with `patient` (number), `target`, `prediction` and, where known, `width`, `height`, `bytes`
            (number, -1 where unknown), `age_approx`, `sex`, `anatom_site_general_challenge` (text, "" where unknown).
        resamples: Number of resamples of the patients.
        seed: Seed of the cross-validation and of the resampling.

    Returns:
        Dict of `model_auc`, `much` (see `rows`), and `rows`, a list of dicts, one per shortcut:

        - `shortcut`: `image size`, `file size` or `metadata`;
        - `auc`, `auc_low`, `auc_high`: of the shortcut alone, each image predicted from other patients;
        - `share`: how far this comes from 0.5 to the model's AUC, 1 where it reaches it; None for a model below 0.5;
        - `warning`: whether the share is at least `much`, a half;
        - `model_within`: the model's AUC over the pairs of a malignant and a benign image that the shortcut cannot
          distinguish (of one image size, one twentieth of file sizes, or one age, sex and site), None where there are
          none; `pairs_within`: the fraction of such pairs among all;
        - `note`: "", or why the figures are None.
    """
    model_auc = roc.roc_auc(table["target"], table["prediction"])
    rows = []
    for shortcut, columns in known(table).items():
        figures = _audit_shortcut(table, columns, model_auc, resamples, seed)
        rows.append({"shortcut": shortcut, **figures})
    return {"model_auc": model_auc, "much": MUCH, "rows": rows}


def _audit_shortcut(
    table: pd.DataFrame, columns: pd.DataFrame | None, model_auc: float, resamples: int, seed: int
) -> dict[str, Any]:
    """Returns the figures of one shortcut, whose categories are None where they are unknown."""
    targets, scores, patient = (table[name].to_numpy() for name in ("target", "prediction", "patient"))
    note = "not known" if columns is None else subgroups.too_small(targets, patient)
    if columns is None or note:
        nothing = {**dict.fromkeys(_FIGURES), "warning": False, "model_within": None, "pairs_within": None}
        return {**nothing, "note": note}
    predicted = cross_validate(columns, targets, patient, seed)
    auc = roc.roc_auc(targets, predicted)
    low, high = roc.roc_auc_interval(targets, predicted, patient, resamples, seed)
    share = (auc - 0.5) / (model_auc - 0.5) if model_auc > 0.5 else None
    strata = columns.groupby(list(columns), sort=False).ngroup().to_numpy()
    model_within, pairs_within = auc_within(targets, scores, strata)
    return {
        "auc": auc,
        "auc_low": low,
        "auc_high": high,
        "share": share,
        "warning": share is not None and share >= MUCH,
        "model_within": model_within,
        "pairs_within": pairs_within,
        "note": "",
    }


def known(table: pd.DataFrame) -> dict[str, pd.DataFrame | None]:
    """Returns the categories of each image that each shortcut uses.

    Args:
        table: See `audit`.

    Returns:
        Dict from shortcut to a DataFrame of categories (text or number), or None where the table has no such column.
    """
    found: dict[str, pd.DataFrame | None] = {"image size": None, "file size": None, "metadata": None}
    if subgroups.knows_sizes(table):
        found["image size"] = subgroups.size_names(table).to_frame("size")
    if "bytes" in table and (table["bytes"] > 0).any():
        parts = pd.qcut(table["bytes"].where(table["bytes"] > 0), _FILE_SIZES, labels=False, duplicates="drop")
        found["file size"] = parts.fillna(-1).to_frame("bytes")
    columns = [name for name in clinical_metadata.FIELDS.values() if name in table and (table[name] != "").any()]
    if columns:
        found["metadata"] = table[columns]
    return found


def cross_validate(columns: pd.DataFrame, targets: np.ndarray, patient: np.ndarray, seed: int = 0) -> np.ndarray:
    """Predicts each image from categories, by a model of other patients' images.

    One category (a size) is predicted by its prevalence; several (age, sex and site) by a logistic regression.

    Args:
        columns: DataFrame of categories.
        targets: 0 or 1, `[n]`.
        patient: int `[n]`.
        seed: Seed of the folds.

    Returns:
        float64 `[n]`, rank of the image in its fold over the fold's size: the folds differ a little in level, which
        would count against a shortcut without information.
    """
    fold = parts(targets, patient, seed)
    predicted = np.empty(len(targets))
    # Few combinations stand for many images: models are fitted to each once per class, with a weight.
    combination = columns.groupby(list(columns), sort=False).ngroup().to_numpy()
    rows = columns.iloc[np.unique(combination, return_index=True)[1]]
    for number in range(FOLDS):
        held_out = fold == number
        training = fold != number
        counts = np.stack(
            [np.bincount(combination[training & (targets == kind)], minlength=len(rows)) for kind in (0, 1)]
        )
        predict = prevalence_by_part if rows.shape[1] == 1 else logistic
        predicted[held_out] = pd.Series(predict(rows, counts)[combination[held_out]]).rank(pct=True)
    return predicted


def parts(targets: np.ndarray, patient: np.ndarray, seed: int = 0) -> np.ndarray:
    """Assigns the patients to folds with equal numbers of malignant images, in random order.

    Args:
        targets: 0 or 1, `[n]`.
        patient: int `[n]`.
        seed: Seed of the order.

    Returns:
        int64 `[n]`, the fold of each image, from 0 to `FOLDS` - 1.
    """
    malignant = np.bincount(patient, targets)
    shuffled = np.random.default_rng(seed).permutation(len(malignant))
    order = shuffled[np.argsort(-malignant[shuffled], kind="stable")]
    fold = np.empty(len(malignant), np.int64)
    fold[order] = np.arange(len(order)) % FOLDS
    return fold[patient]


def prevalence_by_part(rows: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Predicts each category by its prevalence, shrunk towards that of all images where it has few images.

    Args:
        rows: DataFrame, one row per combination of categories.
        counts: Number of benign and malignant images of each, `[2, rows]`.

    Returns:
        float64 `[rows]`.
    """
    prevalence = counts[1].sum() / max(counts.sum(), 1)
    return (counts[1] + _PRIOR * prevalence) / (counts.sum(axis=0) + _PRIOR)


def logistic(rows: pd.DataFrame, counts: np.ndarray) -> np.ndarray:
    """Predicts combinations of categories by a logistic regression; see `prevalence_by_part`."""
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), list(rows.columns)))
    model = make_pipeline(encode, LogisticRegression(max_iter=1000))
    both = pd.concat([rows, rows], ignore_index=True)
    weights = counts.ravel()
    present = weights > 0
    labels = np.repeat([0, 1], len(rows))
    if len(set(labels[present])) < 2:
        return np.zeros(len(rows))
    model.fit(both[present], labels[present], logisticregression__sample_weight=weights[present])
    return model.predict_proba(rows)[:, 1]


def auc_within(targets: np.ndarray, scores: np.ndarray, strata: np.ndarray) -> tuple[float | None, float]:
    """Computes the ROC AUC over the pairs of a malignant and a benign image of one stratum.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        strata: Number of the stratum of each image, from 0, `[n]`.

    Returns:
        The AUC, None where there are no such pairs, and the fraction of such pairs among all.
    """
    pairs = np.prod([np.bincount(strata[targets == kind], minlength=strata.max() + 1) for kind in (0, 1)], axis=0)
    fraction = float(pairs.sum() / ((targets == 1).sum() * (targets == 0).sum()))
    with_pairs = np.flatnonzero(pairs)
    if not len(with_pairs):
        return None, fraction
    chosen = np.isin(strata, with_pairs)
    by_stratum = pd.DataFrame({"target": targets, "score": scores})[chosen].groupby(strata[chosen])
    won = sum(roc.roc_auc(part["target"], part["score"]) * pairs[number] for number, part in by_stratum)
    return float(won / pairs.sum()), fraction
