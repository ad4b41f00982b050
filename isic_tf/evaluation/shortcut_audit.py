"""How far one gets without looking at the lesion: the labels told from image size, file size or metadata alone.

Clinics that see melanomas have other cameras than those that do not, so that the size of an image can tell its label
and a network can learn the camera instead of the lesion. A model that does will not work elsewhere.
"""

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
# convention; that a known confounder be judged alone and then held fixed is Badgeley's et al. (npj Digit Med 2019).
MUCH = 0.5
_FILE_SIZES = 20
# Malignant share of a category, drawn towards that of all images as if this many more had been seen.
_PRIOR = 20


def audit(table, resamples=1000, seed=0):
    """Tells labels from shortcuts alone, by cross-validation over patients, beside the model.

    Args:
        table: DataFrame with `patient` (number), `target`, `prediction` and, where known, `width`, `height`, `bytes`
            (number, -1 where unknown), `age_approx`, `sex`, `anatom_site_general_challenge` (text, "" where unknown).
        resamples: Number of resamples of the patients.
        seed: Seed of the parting and of the resampling.

    Returns:
        Dict of `model_auc`, `much` (see `rows`), and `rows`, a list of dicts, one a shortcut:

        - `shortcut`: `image size`, `file size` or `metadata`;
        - `auc`, `auc_low`, `auc_high`: of the shortcut alone, each image judged by what other patients show;
        - `share`: how far this comes from 0.5 to the model's AUC, 1 where it reaches it; None for a model below 0.5;
        - `warning`: whether the share is at least `much`, a half;
        - `model_within`: the model's AUC over the pairs of a malignant and a benign image that the shortcut cannot
          tell apart (of one image size, one twentieth of file sizes, or one age, sex and site), None where there are
          none; `pairs_within`: the share of such pairs among all;
        - `note`: "", or why the figures are None.
    """
    targets, scores, patient = (table[name].to_numpy() for name in ("target", "prediction", "patient"))
    model, rows = roc.roc_auc(targets, scores), []
    for shortcut, columns in known(table).items():
        row = {"shortcut": shortcut, **dict.fromkeys(("auc", "auc_low", "auc_high", "share"))}
        row |= {"warning": False, "model_within": None, "pairs_within": None}
        row["note"] = "not known" if columns is None else subgroups.too_small(targets, patient)
        if not row["note"]:
            guessed = cross_validate(columns, targets, patient, seed)
            row["auc"] = roc.roc_auc(targets, guessed)
            row["auc_low"], row["auc_high"] = roc.roc_auc_interval(targets, guessed, patient, resamples, seed)
            row["share"] = (row["auc"] - 0.5) / (model - 0.5) if model > 0.5 else None
            row["warning"] = row["share"] is not None and row["share"] >= MUCH
            strata = columns.groupby(list(columns), sort=False).ngroup().to_numpy()
            row["model_within"], row["pairs_within"] = auc_within(targets, scores, strata)
        rows.append(row)
    return {"model_auc": model, "much": MUCH, "rows": rows}


def known(table):
    """Gives the categories that each shortcut knows of an image.

    Returns:
        Dict from shortcut to a DataFrame of categories (text or number), or None where the table has no such column.
    """
    found = dict.fromkeys(("image size", "file size", "metadata"))
    if subgroups.knows_sizes(table):
        found["image size"] = subgroups.size_names(table).to_frame("size")
    if "bytes" in table and (table["bytes"] > 0).any():
        parts = pd.qcut(table["bytes"].where(table["bytes"] > 0), _FILE_SIZES, labels=False, duplicates="drop")
        found["file size"] = parts.fillna(-1).to_frame("bytes")
    columns = [name for name in clinical_metadata.FIELDS.values() if name in table and (table[name] != "").any()]
    if columns:
        found["metadata"] = table[columns]
    return found


def cross_validate(columns, targets, patient, seed=0):
    """Predicts each image from categories, by a model of the other patients' images.

    One category (a size) is predicted by its malignant share; several (age, sex and site) by a logistic regression on
    them.

    Args:
        columns: DataFrame of categories.
        targets: 0 or 1, `[n]`.
        patient: int `[n]`.
        seed: Seed of the parting.

    Returns:
        float64 `[n]`, rank of the image in its part over the part's size: the parts differ a little in level, which
        would count against a shortcut that knows nothing.
    """
    part, guessed = parts(targets, patient, seed), np.empty(len(targets))
    # Few combinations stand for many images: models see each once for either class, with a weight.
    combination = columns.groupby(list(columns), sort=False).ngroup().to_numpy()
    rows = columns.iloc[np.unique(combination, return_index=True)[1]]
    for number in range(FOLDS):
        held, kept = part == number, part != number
        counts = np.stack([np.bincount(combination[kept & (targets == kind)], minlength=len(rows)) for kind in (0, 1)])
        predict = prevalence_by_part if rows.shape[1] == 1 else logistic
        guessed[held] = pd.Series(predict(rows, counts)[combination[held]]).rank(pct=True)
    return guessed


def parts(targets, patient, seed=0):
    """Deals the patients into `FOLDS` parts by their number of malignant images, in an order drawn by lot; `[n]`."""
    malignant = np.bincount(patient, targets)
    drawn = np.random.default_rng(seed).permutation(len(malignant))
    order = drawn[np.argsort(-malignant[drawn], kind="stable")]
    part = np.empty(len(malignant), np.int64)
    part[order] = np.arange(len(order)) % FOLDS
    return part[patient]


def prevalence_by_part(rows, counts):
    """Gives each category its malignant share, drawn towards the whole's where few images were seen.

    Args:
        rows: DataFrame, one row a combination of categories.
        counts: Benign and malignant images of each, `[2, rows]`.

    Returns:
        float64 `[rows]`.
    """
    whole = counts[1].sum() / max(counts.sum(), 1)
    return (counts[1] + _PRIOR * whole) / (counts.sum(axis=0) + _PRIOR)


def logistic(rows, counts):
    """Predicts combinations of categories by a logistic regression; see `malignant_share`."""
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), list(rows.columns)))
    model = make_pipeline(encode, LogisticRegression(max_iter=1000))
    both = pd.concat([rows, rows], ignore_index=True)
    weights = counts.ravel()
    seen = weights > 0
    labels = np.repeat([0, 1], len(rows))
    if len(set(labels[seen])) < 2:
        return np.zeros(len(rows))
    model.fit(both[seen], labels[seen], logisticregression__sample_weight=weights[seen])
    return model.predict_proba(rows)[:, 1]


def auc_within(targets, scores, strata):
    """Computes the ROC AUC over the pairs of a malignant and a benign image of one stratum.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        strata: Number of the stratum of each image, from 0, `[n]`.

    Returns:
        The AUC, None where there are no such pairs, and the share of such pairs among all.
    """
    pairs = np.prod([np.bincount(strata[targets == kind], minlength=strata.max() + 1) for kind in (0, 1)], axis=0)
    share = float(pairs.sum() / ((targets == 1).sum() * (targets == 0).sum()))
    there = np.flatnonzero(pairs)
    if not len(there):
        return None, share
    chosen = np.isin(strata, there)
    parts = pd.DataFrame({"target": targets, "score": scores})[chosen].groupby(strata[chosen])
    won = sum(roc.roc_auc(part["target"], part["score"]) * pairs[number] for number, part in parts)
    return float(won / pairs.sum()), share
