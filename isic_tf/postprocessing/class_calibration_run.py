"""Fits the calibration of the classes of a run on its out-of-fold predictions, and evaluates it by cross-validation."""

import functools
import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from sklearn.metrics import log_loss

from isic_tf.artifacts import class_columns
from isic_tf.data import image_table, label_tables, targets
from isic_tf.data.targets import class_set, column_labels
from isic_tf.postprocessing import calibration, class_calibration, cross_validation
from isic_tf.postprocessing.out_of_fold import OutOfFold
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, filesystem
from tfrecord_tools.table_formats import raw_table

_LOG = logging.getLogger(__name__)


class ClassOutOfFold(NamedTuple):
    """Out-of-fold probabilities of classes, and the true ones."""

    classes: class_set.ClassSet
    probabilities: np.ndarray  # float64 [n, classes]
    truth: np.ndarray  # 0 or 1, [n, classes]


def read_classes(
    path: str, known: OutOfFold, flags: Mapping[str, str], table: str | None, labels: str | None
) -> ClassOutOfFold | None:
    """Reads the probabilities of classes of an out-of-fold file, and the true classes of its images.

    Args:
        path: Out-of-fold file.
        known: Its single predictions.
        flags: Flags of the run.
        table: CSV file with the true classes; None for the one that the run was trained with or, with
            `--target=diagnosis`, the labels.
        labels: The option `--labels`.

    Returns:
        The predictions; None where there are no classes, or (which is logged) the true ones are not known.

    Raises:
        ConfigError: A table is given, but there are no classes.
        IsicError: The file has other classes, or the table does not fit.
    """
    target = flags.get("target", "binary")
    classes = class_set.make_class_set(target, flags.get("classes", ""), flags.get("positive_classes", ""))
    read = csv_tables.read_table(path, ("image_name",))
    names = class_columns.list_classes(read)
    if not names or not classes.names:
        if table:
            raise errors.ConfigError(
                f"expected --table only with predictions of several classes, {path} has none; omit it"
            )
        return None
    if names != list(classes.names):
        raise errors.IsicError(
            f"{path}: expected the classes {', '.join(classes.names)} of the run, got {', '.join(names)}; give "
            "predictions of this run"
        )
    kind, columns = class_set.parse_target(target)
    source = table or (labels if kind == "diagnosis" else flags.get("table"))
    column = "diagnosis" if kind == "diagnosis" else columns[0]
    if not source or (not table and not _has_column(source, column)):
        _LOG.warning(
            f"note: the classes only follow the calibrated single prediction, since the true ones are not known; name "
            f"the CSV file that has the column {column} with --table"
        )
        return None
    rows = read.set_index("image_name").loc[known.names].reset_index()
    probabilities = class_columns.select_probabilities(rows, path)
    return ClassOutOfFold(classes, probabilities, _read_truth(source, known, target, classes))


def _has_column(source: str, column: str) -> bool:
    """Returns whether a table that the user did not name exists and has a column."""
    return filesystem.exists(source) and raw_table.read_raw(source).has(column)


def _read_truth(source: str, known: OutOfFold, target: str, classes: class_set.ClassSet) -> np.ndarray:
    """Returns the true classes, 0 or 1, `[n, classes]`."""
    names = pd.Series(known.names, dtype=object)
    rows = pd.DataFrame({"image_name": names, "label": known.targets.astype(np.float64)})
    if target == "diagnosis":
        texts = image_table.read_columns(source, names, ["diagnosis"])["diagnosis"]
        rows["diagnosis"] = label_tables.encode_columns(source, "diagnosis", texts).to_numpy()
        return _check_targets(targets.label(rows, target, classes), known, classes, source)
    rows = rows.assign(source="out-of-fold predictions", extra=False, fold=0)
    labeled, _ = column_labels.add_labels(rows, source, target, ",".join(classes.names), ",".join(classes.positive))
    return _check_targets(targets.label(labeled, target, classes), known, classes, source)


def _check_targets(truth: np.ndarray, known: OutOfFold, classes: class_set.ClassSet, source: str) -> np.ndarray:
    """Refuses true classes of which other ones are positive than the targets say; returns them as float64."""
    differs = np.flatnonzero(truth[:, list(classes.places)].max(axis=1) != known.targets)
    if len(differs):
        raise errors.IsicError(
            f"expected targets of 1 exactly for the positive classes {', '.join(classes.positive)} of the run, but "
            f"those of {len(differs)} images differ from {source} (first: {known.names[differs[0]]}); give --labels "
            "with such a target, or correct --table"
        )
    return truth.astype(np.float64)


def fit_classes(
    known: OutOfFold, given: ClassOutOfFold, fitted: Mapping[str, Any], methods: Sequence[str]
) -> dict[str, Any]:
    """Fits the calibration of classes, and logs how good it is on images that it was not fitted on.

    Args:
        known: Out-of-fold predictions of one file.
        given: Those of its classes.
        fitted: The calibration of the single prediction, see `calibration.fit_calibration`.
        methods: Methods for each of several labels; the one with the lowest log loss is taken.

    Returns:
        Dict for JSON, see `class_calibration.read_calibration`; `nested` has the cross-validated log loss of the
        classes (of several labels their mean) uncalibrated (`none`) and `calibrated`.
    """
    names = list(given.classes.names)
    if given.classes.multi_label:
        return {"names": names, **_fit_labels(known, given, methods)}
    temperature = class_calibration.fit_temperature(given.probabilities, given.truth)
    calibrated = np.empty_like(given.probabilities)
    for fold in np.unique(known.folds):
        held_out = known.folds == fold
        own = {"temperature": class_calibration.fit_temperature(given.probabilities[~held_out], given.truth[~held_out])}
        single = calibration.fit_calibration(fitted["method"], known.scores[~held_out, 0], known.targets[~held_out])
        _, calibrated[held_out] = class_calibration.calibrate_scores(
            {**single, class_calibration.KEY: own},
            known.scores[held_out, 0],
            given.probabilities[held_out],
            given.classes,
        )
    nested = {
        "none": _mean_log_loss(given.probabilities, given.truth),
        "calibrated": _mean_log_loss(calibrated, given.truth),
    }
    _LOG.info(
        f"{len(names)} classes: temperature {temperature:.4f}; log loss {nested['calibrated']:.5f} on the other folds, "
        f"uncalibrated {nested['none']:.5f}"
    )
    if nested["none"] < nested["calibrated"]:
        _LOG.warning("note: the uncalibrated classes have the lower log loss")
    return {"names": names, "temperature": temperature, "nested": nested}


def _mean_log_loss(probabilities: np.ndarray, truth: np.ndarray) -> float:
    own = (probabilities * truth).sum(axis=1)
    return float(-np.log(np.clip(own, np.finfo(np.float64).eps, 1)).mean())


def _fit_labels(known: OutOfFold, given: ClassOutOfFold, methods: Sequence[str]) -> dict[str, Any]:
    """Fits a calibration to each of several labels."""
    each = []
    losses = []
    for place, name in enumerate(given.classes.names):
        scores, truth = given.probabilities[:, place], given.truth[:, place]
        is_fitted = all(len(set(truth[known.folds != fold])) == 2 for fold in np.unique(known.folds))
        if not is_fitted:
            _LOG.warning(f"note: {name} is not calibrated: outside of a fold, all images have it or none has")
        found = {method: _nested_loss(known, method, scores, truth) for method in (*methods, "none") if is_fitted}
        method = min(methods, key=lambda method: found[method]) if is_fitted else "none"
        each.append(_fit_label(method, scores, truth))
        if is_fitted:
            losses.append((found["none"], found[method]))
            _LOG.info(
                f"{name}: {method}; log loss {found[method]:.5f} on the other folds, uncalibrated {found['none']:.5f}"
            )
    none, calibrated = np.mean(losses, axis=0).tolist() if losses else (None, None)
    return {"each": each, "nested": {"none": none, "calibrated": calibrated}}


def _fit_label(method: str, scores: np.ndarray, truth: np.ndarray) -> dict[str, Any]:
    if method == "none":
        return {"method": method, "images": len(truth), "prevalence": float(truth.mean())}
    return calibration.fit_calibration(method, scores, truth)


def _nested_loss(known: OutOfFold, method: str, scores: np.ndarray, truth: np.ndarray) -> float:
    fit = functools.partial(calibration.fit_calibration, method)
    nested = cross_validation.cross_predict(fit, calibration.apply_calibration, scores, truth, known.folds)
    return float(log_loss(truth, nested))
