"""The second stage: fitted on out-of-fold scores of stage one, kept in a folder, applied to any patients' lesions."""

import json
import os
import typing

import numpy as np
import pandas as pd
from scipy import special, stats

from isic_tf.patient_context import gradient_boosting, lesion_features, set_model
from isic_tf.postprocessing import calibration, cross_validation
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem

RELATIVE = ("z_score", "ratio", "rank")
METHODS = (*RELATIVE, "boost", "set")
_FILE, _BOOST_FILE, _SET_FOLDER = "context.json", "boost.npz", "set"


class Stage(typing.NamedTuple):
    """A fitted second stage."""

    method: str  # of `METHODS`
    files: int  # scores of stage one that each lesion has
    looks: bool  # whether it needs embeddings
    patient_context: bool  # whether a lesion is judged beside the patient's others
    columns: list  # of `lesion_features.tabulate`
    alone: dict | None  # calibration of stage one, for lesions without others; see `calibration.fit_calibration`
    model: object  # `gradient_boosting.Boost`, `set_model.SetModel`, or None where nothing is fitted


def fit(method, given, targets, patient_context=True, seed=0, strategy=None):
    """Fits a second stage.

    Args:
        method: `z_score`, `ratio` (to the mean) or `rank`, which put the score in relation to the patient's others and
            need no fit (as the first place of ISIC 2024 did); `boost`, see `isic_tf.boost`; or `set`, see
            `isic_tf.sets`.
        given: `lesion_features.Lesions`, with out-of-fold scores.
        targets: 0 or 1, `[n]`.
        patient_context: Whether a lesion is judged beside the patient's others; only `boost` can do without.
        seed: Fixes what is drawn.
        strategy: `tf.distribute.Strategy` that a `set` is trained under; None for the default.

    Returns:
        `Stage`.

    Raises:
        IsicError: The lesions that have others beside them lack one of the classes.
    """
    targets, table = np.asarray(targets), lesion_features.tabulate(given, patient_context)
    looks = patient_context and given.embeddings is not None
    stage = Stage(method, given.logits.shape[1], looks, patient_context, list(table), None, None)
    if method in RELATIVE:
        return stage
    probability = special.expit(table["logit"].to_numpy())
    stage = stage._replace(alone=calibration.fit_calibration("platt", probability, targets))
    # Lesions without others are not judged by the model, and would teach it that all is equal.
    beside = ~lesion_features.is_alone(given) if patient_context else np.ones(len(targets), bool)
    if len(set(targets[beside])) < 2:
        raise errors.IsicError(
            f"expected benign and malignant images of patients with several, {beside.sum()} images have others beside "
            "them; check patient_id in --metadata"
        )
    inputs = table[beside].to_numpy()
    if method == "boost":
        return stage._replace(model=gradient_boosting.fit(inputs, targets[beside], seed))
    return stage._replace(
        model=set_model.fit(inputs, inputs[:, 0], given.patients[beside], targets[beside], strategy, seed)
    )


def apply(stage, given):
    """Judges lesions, all of a patient's together.

    Args:
        stage: See `fit`.
        given: `lesion_features.Lesions`, with as many scores as those it was fitted on.

    Returns:
        float64 `[n]` from 0 to 1, a probability where the stage is `boost` or `set`. Lesions without others keep the
        order of stage one; of the relative methods they get the share of all images that score lower.

    Raises:
        IsicError: The lesions lack scores or embeddings that the stage was fitted on.
    """
    if given.logits.shape[1] != stage.files:
        raise errors.IsicError(f"expected {stage.files} prediction file(s), as fitted, got {given.logits.shape[1]}")
    if stage.looks and given.embeddings is None:
        raise errors.IsicError("expected embeddings, which the second stage was fitted on; give --embeddings")
    table = lesion_features.tabulate(given if stage.looks else given._replace(embeddings=None), stage.patient_context)
    alone = lesion_features.is_alone(given) & stage.patient_context
    if stage.method in RELATIVE:
        return _relate(stage.method, special.expit(table["logit"]), given.patients, alone)
    inputs = table[stage.columns].to_numpy()
    found = calibration.apply_calibration(stage.alone, special.expit(inputs[:, 0]))
    if not alone.all():
        inputs = inputs[~alone]
        if stage.method == "boost":
            logits = gradient_boosting.apply(stage.model, inputs)
        else:
            logits = set_model.apply(stage.model, inputs, inputs[:, 0], given.patients[~alone])
        found[~alone] = special.expit(logits)
    return found


def _relate(method, probability, patients, alone):
    by_patient = probability.groupby(patients)
    if method == "rank":
        found = (by_patient.rank() - 0.5) / by_patient.transform("size")
    elif method == "ratio":
        # From 0 to 1: half where the score is the patient's mean.
        found = probability / (probability + by_patient.transform("mean"))
    else:
        logit = pd.Series(special.logit(probability))
        by_patient = logit.groupby(patients)
        spread = by_patient.transform("std", ddof=0)
        found = special.ndtr((logit - by_patient.transform("mean")) / spread.where(spread > 1e-9, np.inf))
    share = (stats.rankdata(probability) - 0.5) / len(probability)
    return np.where(alone, share, found)


def predict_nested(method, given, targets, folds, patient_context=True, seed=0, strategy=None):
    """Predicts each fold by what was fitted on the others, float64 `[n]`; arguments as for `fit`, folds int `[n]`."""
    if method in RELATIVE:
        return apply(fit(method, given, targets), given)

    def fit_rows(rows, own):
        return fit(method, _take(given, rows), own, patient_context, seed, strategy)

    def apply_rows(stage, rows):
        return apply(stage, _take(given, rows))

    return cross_validation.cross_predict(fit_rows, apply_rows, np.arange(len(targets)), targets, folds)


def _take(given, rows):
    embeddings = None if given.embeddings is None else given.embeddings[rows]
    return lesion_features.Lesions(
        given.logits[rows], given.patients[rows], given.codes.iloc[rows].reset_index(drop=True), embeddings
    )


def save(stage, folder, figures):
    """Writes a stage into a folder, with the figures it was judged by (a dict for JSON)."""
    if stage.method == "boost":
        gradient_boosting.save(stage.model, os.path.join(folder, _BOOST_FILE))
    if stage.method == "set":
        set_model.save(stage.model, os.path.join(folder, _SET_FOLDER))
    content = {**stage._replace(model=None)._asdict(), "nested": figures}
    del content["model"]
    # Last, since it says that the rest is there.
    atomic_write.write_text(os.path.join(folder, _FILE), json.dumps(content, indent=1, allow_nan=False) + "\n")


def load(folder):
    """Reads a stage.

    Args:
        folder: See `save`.

    Returns:
        `Stage`.

    Raises:
        IsicError: There is none, or it is damaged.
    """
    path = os.path.join(folder, _FILE)
    if not filesystem.exists(path):
        raise errors.IsicError(f"expected a second stage at {path}, found none; make it with isic_tf.context")
    try:
        content = json.loads(filesystem.read(path))
        stage = Stage(**{name: content[name] for name in Stage._fields if name != "model"}, model=None)
        if stage.method not in METHODS or not isinstance(stage.files, int) or not isinstance(stage.columns, list):
            raise errors.IsicError("it is of another kind")
        if stage.method not in RELATIVE:
            calibration.apply_calibration(stage.alone, np.array([0.5]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise errors.IsicError(f"{path} is no second stage ({error!r}); make it again with isic_tf.context") from error
    if stage.method == "boost":
        stage = stage._replace(model=gradient_boosting.load(os.path.join(folder, _BOOST_FILE)))
        if len(stage.model.coefficients) != len(stage.columns):
            raise errors.IsicError(
                f"{path} is not of the {_BOOST_FILE} beside it; make both again with isic_tf.context"
            )
    return stage._replace(model=set_model.load(os.path.join(folder, _SET_FOLDER))) if stage.method == "set" else stage
