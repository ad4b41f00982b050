"""Out-of-fold predictions of one or several runs, and how what is fitted to them is judged on other patients."""

import typing

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from isic_tf import bootstrap, metrics
from isic_tf import tables as labelled
from tfrecord_tools import schema

_NUM_FOLDS = 5


class OutOfFold(typing.NamedTuple):
    """Out-of-fold predictions joined by name."""

    names: list
    scores: np.ndarray  # float64 [n, files]
    targets: np.ndarray  # 0 or 1, [n]
    patients: np.ndarray | None  # text [n], of an unknown patient the image's own; None without labels
    folds: np.ndarray  # int64 [n]: what is fitted on the others is judged on each
    notes: list  # what to tell the user


def read(paths, labels=None, join="equal"):
    """Reads out-of-fold files of runs.

    Args:
        paths: CSV files with `image_name`, `prediction` and `fold`, and `target` where there are no labels.
        labels: CSV file with `image_name`, `patient_id` and `target`, or None.
        join: See `join_by_name`.

    Returns:
        `OutOfFold` in the order of the first file.

    Raises:
        ValueError: A file is not out of fold; names, targets or labels do not fit; or the folds cannot judge a fit:
            there are fewer than two, or outside of one there is one class only.
    """
    found, blanks = zip(*(_read_file(path) for path in paths), strict=True)
    tables, notes = join_by_name(paths, found, join)
    notes = [*filter(None, blanks), *notes]
    names = tables[0]["image_name"]
    known = _read_labels(labels, names) if labels else None
    targets = _find_targets(paths, tables, known, labels)
    patients = None if known is None else known["patient_id"].where(known["patient_id"] != "", "image " + names)
    folds = np.stack([table["fold"] for table in tables], axis=1)
    chosen, more = choose_folds(paths, folds, targets, patients)
    scores = np.stack([table["prediction"] for table in tables], axis=1)
    patients = None if patients is None else patients.to_numpy()
    return OutOfFold(names.tolist(), scores, targets, patients, chosen, notes + more)


def _read_file(path):
    """Reads a file's rows that have a fold; and a text that says how many have none, or ""."""
    table = labelled.read_scores(path, keep=("fold", "target"))
    remedy = "give the oof.csv of a run, whose column fold says that no image was trained on"
    if "fold" not in table:
        raise ValueError(f"{path} has no column fold, so is not out of fold; {remedy}")
    blank, note = table["fold"] == "", ""
    if blank.all():
        raise ValueError(f"{path}: the column fold is blank, so nothing is out of fold; {remedy}")
    if blank.any():
        note = f"{path}: {blank.sum()} images are in no fold, {table.loc[blank, 'image_name'].iloc[0]} first; left out"
        table = table[~blank].reset_index(drop=True)
    folds = pd.to_numeric(table["fold"], errors="coerce")
    bad = table.loc[~((folds >= 0) & (folds % 1 == 0)), "image_name"]
    if len(bad):
        raise ValueError(f"{path}: {len(bad)} folds are no whole number from 0 on, that of {bad.iloc[0]} first")
    return table.assign(fold=folds.astype("int64")), note


def join_by_name(paths, tables, join):
    """Brings prediction tables into the order of the first.

    Args:
        paths: What each table is called, `[files]`.
        tables: DataFrames with `image_name`, each name once.
        join: `equal` where all must have the same names, `inner` to keep those that all have.

    Returns:
        The tables, rows in one order; and a list of texts that say what was left out.

    Raises:
        ValueError: The names differ under `equal`, or no name is in all files.
    """
    # Objects: what pandas does with text of its own is twenty times as slow to look up.
    first, *others = (pd.Index(table["image_name"], dtype=object) for table in tables)
    common, notes = first, []
    for path, names in zip(paths[1:], others, strict=True):
        common = common[names.get_indexer(common) >= 0]
        kinds = {paths[0]: first[names.get_indexer(first) < 0], path: names[first.get_indexer(names) < 0]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in kinds.items() if len(own)]
        if texts and join == "equal":
            raise ValueError(f"the images of the files differ: {'; '.join(texts)}; --join=inner blends those in all")
        notes += texts
    if not len(common):
        raise ValueError(f"no image is in all of {', '.join(paths)}; check the files")
    if notes:
        notes = [f"{len(common)} images are in all files; left out: {'; '.join(notes)}"]
    rows = (names.get_indexer(common) for names in (first, *others))
    return [table.iloc[row].reset_index(drop=True) for table, row in zip(tables, rows, strict=True)], notes


def _read_labels(path, names):
    table = labelled.read_labels(path)
    rows = pd.Index(table["image_name"], dtype=object).get_indexer(names.astype(object))
    if (rows < 0).any():
        unknown = names[rows < 0]
        raise ValueError(f"{len(unknown)} out-of-fold images have no label in {path}, {unknown.iloc[0]} first")
    return table.iloc[rows].reset_index(drop=True)


def _find_targets(paths, tables, known, labels):
    """Gives the targets, 0 or 1, on which all the files that have some agree."""
    sources = {} if known is None else {labels: known["target"]}
    for path, table in zip(paths, tables, strict=True):
        if "target" in table:
            sources[path] = labelled.encode(path, "target", table["target"])
    if not sources:
        raise ValueError(f"{', '.join(paths)}: no column target to fit to; give --labels")
    (origin, targets), *others = sources.items()
    if (targets == schema.UNKNOWN).any():
        raise ValueError(f"{origin}: {(targets == schema.UNKNOWN).sum()} targets are blank; give --labels")
    for path, other in others:
        differing = tables[0].loc[(other != targets) & (other != schema.UNKNOWN), "image_name"]
        if len(differing):
            raise ValueError(f"{path} and {origin} differ in {len(differing)} targets, {differing.iloc[0]} first")
    return targets.to_numpy()


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
        ValueError: See `read`.
    """
    if len(set(targets)) < 2:
        raise ValueError(f"fitting needs benign and malignant images, all {len(targets)} have target {targets[0]}")
    notes = []
    for path, column in zip(paths, folds.T, strict=True):
        shared = 0 if patients is None else (pd.Series(column).groupby(patients.to_numpy()).nunique() > 1).sum()
        if shared:
            notes.append(f"{path}: {shared} patients are in several folds, so it is not quite out of fold")
    chosen = folds[:, 0]
    if notes or (folds != chosen[:, None]).any() or len(set(chosen)) < 2:
        if patients is None:
            reason = "have one fold only" if len(set(folds.ravel())) < 2 else "have different folds"
            raise ValueError(f"{', '.join(paths)} {reason}: give --labels, whose patients are put into folds")
        chosen = _draw_folds(targets, patients)
    for fold in np.unique(chosen):
        if len(set(targets[chosen != fold])) < 2:
            raise ValueError(f"outside of fold {fold} there is one class only: too few malignant images to judge a fit")
    return chosen, notes


def _draw_folds(targets, patients):
    count = min(patients[targets == label].nunique() for label in (0, 1))
    if count < 2:
        raise ValueError("judging a fit needs at least two patients with malignant and two with benign images")
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
    resamples = bootstrap.affordable(known.targets, 1000)
    low, high = metrics.auc_interval(known.targets, scores, known.patients, resamples)
    return " too few patients" if low is None else f" [{low:.4f}, {high:.4f}]"
