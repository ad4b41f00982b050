"""Patient-context models: fitted on out-of-fold scores of image-level models, saved, and applied to other patients."""

import dataclasses
import json
import os
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

# `scipy.stats` is imported at its first use, which most runs do without.
import scipy
import tensorflow as tf
from scipy import special

from isic_tf.patient_context import gradient_boosting, lesion_features, lesion_numbers, set_model, set_model_files
from isic_tf.patient_context.config import BOOST_FILE, METHODS, RELATIVE_METHODS, SET_DIRECTORY, STAGE_FILE
from isic_tf.patient_context.set_model_training import SetModelOptions
from isic_tf.postprocessing import calibration, calibration_file, cross_validation
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, saved_files

_MAX_FILES = 1000
# Names of fields of `Stage` in the file, where they differ.
_KEYS = {"num_files": "files", "uses_embeddings": "looks", "lone_calibration": "alone"}

# Standard deviations of logits that are none but for rounding.
NO_SPREAD = 1e-9


class Stage(typing.NamedTuple):
    """A fitted patient-context model.

    Examples:
        >>> stage = Stage("rank", 1, False, patient_context=True, columns=[], lone_calibration=None, model=None)
        >>> stage.method
        'rank'
    """

    method: str  # one of `config.METHODS`
    num_files: int  # number of image-level scores of each lesion
    uses_embeddings: bool  # whether it needs embeddings
    patient_context: bool  # whether it uses the patient's other lesions
    columns: list[str]  # of `lesion_features.tabulate`
    lone_calibration: dict[str, typing.Any] | None  # of the image-level scores, for lesions without others
    model: gradient_boosting.Boost | set_model.SetModel | None  # None where nothing is fitted
    numbers: Mapping[str, Sequence[float]] = types.MappingProxyType({})  # see `lesion_numbers.compute_standards`

    @property
    def uses_metadata(self) -> bool:
        """Whether it uses age, sex and site; methods that put scores in relation do not."""
        return self.method not in RELATIVE_METHODS


@dataclasses.dataclass(frozen=True)
class StageOptions:
    """Options of `fit_stage`.

    Attributes:
        method: `z_score`, `ratio` (to the mean) or `rank`, which put the score in relation to the patient's other
            lesions and need no fit (as the winners of ISIC 2024 did); `boost`, see `gradient_boosting`; or `set`, see
            `set_model`.
        patient_context: Whether the patient's other lesions are used; only `boost` works without.
        seed: Random seed.
        strategy: `tf.distribute.Strategy` that a `set` is trained under; None for the one in scope.
    """

    method: str = "boost"
    patient_context: bool = True
    seed: int = 0
    strategy: tf.distribute.Strategy | None = None


def fit_stage(given: lesion_features.Lesions, targets: np.ndarray, options: StageOptions) -> Stage:
    """Fits a patient-context model.

    Args:
        given: Lesions with out-of-fold scores.
        targets: 0 or 1, `[n]`.
        options: How to fit.

    Returns:
        `Stage`.

    Raises:
        ConfigError: A numeric column is unknown of all lesions, or has one value.
        IsicError: The lesions of patients with several lack one of the classes.
        DivergenceError: The training of a `set` diverges.
    """
    return _fit_table(given, lesion_features.tabulate(given, options.patient_context), targets, options)


def _fit_table(
    given: lesion_features.Lesions, table: pd.DataFrame, targets: np.ndarray, options: StageOptions
) -> Stage:
    """Fits a model to features that do not depend on the lesions of the fit; adds those that do."""
    targets = np.asarray(targets)
    numbers = {} if options.method in RELATIVE_METHODS else lesion_numbers.compute_standards(given.numbers)
    table = lesion_features.add_numbers(table, given, options.patient_context, numbers)
    stage = Stage(
        method=options.method,
        num_files=given.logits.shape[1],
        uses_embeddings=options.patient_context and given.embeddings is not None,
        patient_context=options.patient_context,
        columns=list(table),
        lone_calibration=None,
        model=None,
        numbers=numbers,
    )
    if options.method in RELATIVE_METHODS:
        return stage
    probability = special.expit(table["logit"].to_numpy())
    lone_calibration = calibration.fit_calibration("platt", probability, targets)
    # The model is not applied to lesions without others, which would teach it that others do not matter.
    is_used = ~lesion_features.is_alone(given) if options.patient_context else np.ones(len(targets), bool)
    if len(set(targets[is_used])) < 2:
        raise errors.IsicError(
            "expected benign and malignant images of patients with several images, got targets "
            f"{sorted(set(targets[is_used].tolist()))} for {is_used.sum()} such images; check patient_id in --metadata"
        )
    inputs = table[is_used].to_numpy()
    model: gradient_boosting.Boost | set_model.SetModel
    if options.method == "boost":
        model = gradient_boosting.fit(inputs, targets[is_used], options.seed)
    else:
        set_options = SetModelOptions(seed=options.seed)
        patients = given.patients[is_used]
        model = set_model.fit(inputs, inputs[:, 0], patients, targets[is_used], options.strategy, set_options)
    return stage._replace(lone_calibration=lone_calibration, model=model)


def apply_stage(stage: Stage, given: lesion_features.Lesions) -> np.ndarray:
    """Predicts lesions, all lesions of a patient together.

    Args:
        stage: See `fit_stage`.
        given: Lesions with as many image-level scores as those that the stage was fitted on.

    Returns:
        float64 `[n]` from 0 to 1; probabilities for `boost` and `set`. Lesions without others keep the order of their
        image-level scores; with the relative methods they get the fraction of all images with a lower score.

    Raises:
        ConfigError: The lesions lack scores, embeddings or numeric columns that the stage was fitted on.
    """
    if given.logits.shape[1] != stage.num_files:
        raise errors.ConfigError(
            f"expected {stage.num_files} prediction file(s), as in the fit, got {given.logits.shape[1]}; give the "
            "files of the same models in the same order"
        )
    if stage.uses_embeddings and given.embeddings is None:
        raise errors.ConfigError("expected embeddings, as in the fit, got none; give --embeddings")
    lacking = [name for name in stage.numbers if name not in given.numbers]
    if lacking:
        raise errors.ConfigError(
            f"expected the numeric columns {', '.join(stage.numbers)}, as in the fit, got none of "
            f"{', '.join(lacking)}; give a table that has them"
        )
    used = given if stage.uses_embeddings else given._replace(embeddings=None)
    return _apply_to_table(stage, given, lesion_features.tabulate(used, stage.patient_context))


def _apply_to_table(stage: Stage, given: lesion_features.Lesions, table: pd.DataFrame) -> np.ndarray:
    table = lesion_features.add_numbers(table, given, stage.patient_context, stage.numbers)
    is_alone = lesion_features.is_alone(given) & stage.patient_context
    if stage.method in RELATIVE_METHODS:
        return _relate(stage.method, special.expit(table["logit"]), given.patients, is_alone)
    inputs = table[stage.columns].to_numpy()
    found = calibration.apply_calibration(
        typing.cast(dict[str, Any], stage.lone_calibration), special.expit(inputs[:, 0])
    )
    if not is_alone.all():
        logits = _apply_model(stage.model, inputs[~is_alone], given.patients[~is_alone])
        found[~is_alone] = special.expit(logits)
    return found


def _apply_model(
    model: gradient_boosting.Boost | set_model.SetModel | None, inputs: np.ndarray, patients: np.ndarray
) -> np.ndarray:
    if isinstance(model, gradient_boosting.Boost):
        return gradient_boosting.apply(model, inputs)
    return set_model.apply(typing.cast(set_model.SetModel, model), inputs, inputs[:, 0], patients)


def _relate(method: str, probability: pd.Series, patients: np.ndarray, is_alone: np.ndarray) -> np.ndarray:
    """Returns scores relative to those of the patient's lesions; of a lone lesion, relative to all lesions."""
    by_patient = probability.groupby(patients)
    if method == "rank":
        found = (by_patient.rank() - 0.5) / by_patient.transform("size")
    elif method == "ratio":
        # From 0 to 1; 0.5 where the score is the mean of the patient's scores.
        found = probability / (probability + by_patient.transform("mean"))
    else:
        logit = pd.Series(special.logit(probability))
        logit_by_patient = logit.groupby(patients)
        spread = logit_by_patient.transform("std", ddof=0)
        found = special.ndtr((logit - logit_by_patient.transform("mean")) / spread.where(spread > NO_SPREAD, np.inf))
    rank_among_all = (scipy.stats.rankdata(probability) - 0.5) / len(probability)
    return np.where(is_alone, rank_among_all, found)


def predict_nested(
    given: lesion_features.Lesions, targets: np.ndarray, folds: np.ndarray, options: StageOptions
) -> np.ndarray:
    """Predicts each fold by a model fitted on the other folds.

    Args:
        given: Lesions with out-of-fold scores.
        targets: 0 or 1, `[n]`.
        folds: int `[n]`, one for all lesions of a patient.
        options: How to fit; for the relative methods nothing is fitted.

    Returns:
        float64 `[n]`, see `apply_stage`.

    Raises:
        IsicError: See `fit_stage`.
    """
    if options.method in RELATIVE_METHODS:
        return apply_stage(fit_stage(given, targets, options), given)

    # Once for all folds, since a lesion is compared with those of its patient only.
    table = lesion_features.tabulate(given, options.patient_context)

    def fit_rows(rows: np.ndarray, own_targets: np.ndarray) -> Stage:
        return _fit_table(_take(given, rows), table.iloc[rows].reset_index(drop=True), own_targets, options)

    def apply_rows(stage: Stage, rows: np.ndarray) -> np.ndarray:
        return _apply_to_table(stage, _take(given, rows), table.iloc[rows].reset_index(drop=True))

    return cross_validation.cross_predict(fit_rows, apply_rows, np.arange(len(targets)), targets, folds)


def _take(given: lesion_features.Lesions, rows: np.ndarray) -> lesion_features.Lesions:
    return lesion_features.Lesions(
        logits=given.logits[rows],
        patients=given.patients[rows],
        codes=given.codes.iloc[rows].reset_index(drop=True),
        embeddings=None if given.embeddings is None else given.embeddings[rows],
        numbers=given.numbers.iloc[rows].reset_index(drop=True) if len(given.numbers.columns) else given.numbers,
    )


def save_stage(stage: Stage, directory: str, figures: dict[str, typing.Any]) -> None:
    """Writes a patient-context model into a directory.

    Args:
        stage: See `fit_stage`.
        directory: Directory to write, created where it does not exist.
        figures: What its evaluation found, for JSON; see `context_ablation.evaluate_gain`.

    Examples:
        >>> stage = Stage("rank", 1, False, patient_context=True, columns=[], lone_calibration=None, model=None)
        >>> save_stage(stage, "context", {})
        >>> load_stage("context") == stage
        True
    """
    if isinstance(stage.model, gradient_boosting.Boost):
        gradient_boosting.save(stage.model, os.path.join(directory, BOOST_FILE))
    if isinstance(stage.model, set_model.SetModel):
        set_model_files.save(stage.model, os.path.join(directory, SET_DIRECTORY))
    fields = {**stage._asdict(), "numbers": dict(stage.numbers)}
    # Without numeric columns, the file is as earlier releases wrote it.
    left_out = ("model",) if stage.numbers else ("model", "numbers")
    content = {_KEYS.get(name, name): value for name, value in fields.items() if name not in left_out}
    text = json.dumps({**content, "nested": figures}, indent=1, allow_nan=False)
    # Last, because its existence marks the model as complete.
    atomic_write.write_text(os.path.join(directory, STAGE_FILE), text + "\n")


def load_stage(directory: str | os.PathLike[str]) -> Stage:
    """Reads a patient-context model.

    Args:
        directory: See `save_stage`.

    Returns:
        `Stage`.

    Raises:
        IsicError: The directory does not hold one.
        CorruptRecordError: It is damaged.

    Examples:
        >>> load_stage("runs/b0/context").method  # doctest: +SKIP
        'boost'
    """
    directory = os.fspath(directory)
    path = os.path.join(directory, STAGE_FILE)
    if not filesystem.exists(path):
        raise errors.IsicError(
            f"expected a patient-context model at {path}, but the file does not exist; fit one with isic_tf.context "
            "--oof --model_dir"
        )
    stage = _read_stage(path)
    if stage.method == "set":
        return stage._replace(model=set_model_files.load(os.path.join(directory, SET_DIRECTORY)))
    if stage.method != "boost":
        return stage
    model = gradient_boosting.load(os.path.join(directory, BOOST_FILE))
    if len(model.coefficients) != len(stage.columns):
        raise errors.CorruptRecordError(
            f"expected {BOOST_FILE} with the {len(stage.columns)} columns of {path}, got {len(model.coefficients)}; "
            "write both again with isic_tf.context"
        )
    return stage._replace(model=model)


def _read_stage(path: str) -> Stage:
    """Reads a stage without its model."""
    with saved_files.explained_damage(path, "a valid patient-context model", "write it again with isic_tf.context"):
        content = saved_files.read_json(path)
        fields = {name: content[_KEYS.get(name, name)] for name in Stage._fields if name not in ("model", "numbers")}
        stage = Stage(**fields, model=None, numbers=content.get("numbers", {}))
        _check_fields(stage)
    return stage


def _check_fields(stage: Stage) -> None:
    """Refuses fields with which applying the stage could fail."""
    kinds = {"method": str, "num_files": int, "uses_embeddings": bool, "patient_context": bool, "columns": list}
    for name, kind in kinds.items():
        value = getattr(stage, name)
        if type(value) is not kind:
            raise errors.CorruptRecordError(f"expected {name} of type {kind.__name__}, got {value!r:.50}")
    if stage.method not in METHODS or not 1 <= stage.num_files <= _MAX_FILES:
        raise errors.CorruptRecordError(f"unsupported method {stage.method!r:.50} of {stage.num_files} files")
    if not all(isinstance(column, str) for column in stage.columns) or len(set(stage.columns)) < len(stage.columns):
        raise errors.CorruptRecordError("expected different names as columns")
    lesion_numbers.check_standards(stage.numbers)
    if stage.method not in RELATIVE_METHODS:
        calibration_file.check_calibration(typing.cast(dict[str, Any], stage.lone_calibration))
