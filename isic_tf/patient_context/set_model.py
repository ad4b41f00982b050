"""Set attention over all lesions of a patient, as a second stage on the scores of an image-level model."""

import math
import typing
from collections.abc import Sequence

import numpy as np

# `scipy.optimize` is imported at its first use, which applying a model does without.
import scipy
import tensorflow as tf

from isic_tf.metrics import logistic
from isic_tf.patient_context import length_bucketing, set_model_training
from isic_tf.patient_context.set_model_training import SetModelOptions
from tfrecord_tools import errors

# Standardized features beyond are outliers of a test set, or errors.
MAX_FEATURE = 8.0
# The image-level score keeps its direction, however little it is worth.
_MIN_SLOPE = 1e-3


class SetModel(typing.NamedTuple):
    """An ensemble of set networks, and how their inputs are made."""

    mean: np.ndarray  # float64 [d], of the known values
    scale: np.ndarray  # float64 [d], their standard deviation; 1 for constants
    missing: np.ndarray  # bool [d], whether a further feature marks where the value is unknown
    slope: float  # of the calibration of the image-level logits, which a lesion without others gets
    intercept: float
    share: float  # factor of the corrections, from 0 to 1
    network: dict[str, typing.Any]  # keyword arguments of `set_transformer.build_set_transformer`
    members: list[list[np.ndarray]]  # the weights of each network


def fit(
    inputs: np.ndarray,
    logits: np.ndarray,
    patients: np.ndarray | Sequence[str | int],
    targets: np.ndarray,
    strategy: tf.distribute.Strategy | None = None,
    options: SetModelOptions | None = None,
) -> SetModel:
    """Trains set networks to correct the logits of an image-level model.

    Each is trained without a part of the patients, and evaluated on them: when to stop, and by which factor to multiply
    the corrections. Where a patient's lesions do not inform each other, the image-level logits remain as they are.

    Args:
        inputs: Float `[n, d]`, one row per lesion; NaN where unknown.
        logits: Float `[n]`, out-of-fold logits of the image-level model: those of training images are too confident.
        patients: Int or text `[n]`; the rows of a patient are a set, a row of blank text is a set of its own.
        targets: 0 or 1, `[n]`.
        strategy: `tf.distribute.Strategy`; None for the one in scope.
        options: How to build and train the networks; None for the defaults.

    Returns:
        `SetModel`.

    Raises:
        IsicError: The arrays do not fit together, a logit or target is invalid, or a patient has too many lesions.
        DivergenceError: The training diverges.
    """
    options = options or SetModelOptions()
    inputs, logits, patients = _check(inputs, logits, patients)
    targets = np.asarray(targets)
    if targets.shape != logits.shape or not np.isin(targets, (0, 1)).all():
        raise errors.IsicError(
            f"expected a target of 0 or 1 for each of {len(logits)} lesions, got shape {targets.shape} with values "
            f"{np.unique(targets)[:5].tolist()}"
        )
    mean, scale, missing = _standards(inputs)
    slope, intercept = _calibrate(logits, targets)
    model = SetModel(mean, scale, missing, slope, intercept, 1.0, {}, [])
    features, base = _encode(model, inputs, logits)
    network = options.network(features.shape[1])
    # The target is the first key, so that nothing depends on the order of the rows.
    sets = length_bucketing.group(patients, np.column_stack([targets, features]))
    tables = (features, base.astype("float32")[:, None], targets.astype("float32")[:, None])
    strategy = strategy or tf.distribute.get_strategy()
    members, corrections = set_model_training.train(network, tables, sets, options, strategy)
    return model._replace(network=network, members=members, share=_share(base, corrections, targets))


def _share(base: np.ndarray, corrections: np.ndarray, targets: np.ndarray) -> float:
    """Finds the factor of the corrections, from 0 to 1, that is best for patients the networks did not train on."""
    found = scipy.optimize.minimize_scalar(
        lambda share: set_model_training.cross_entropy(base + share * corrections, targets),
        bounds=(0, 1),
        method="bounded",
    )
    return float(found.x)


def _check(
    inputs: np.ndarray, logits: np.ndarray, patients: np.ndarray | Sequence[str | int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    inputs = np.asarray(inputs, np.float64)
    logits = np.asarray(logits, np.float64)
    patients = np.asarray(patients)
    if inputs.ndim != 2 or not len(inputs) or logits.shape != inputs.shape[:1] or patients.shape != logits.shape:
        shapes = f"{inputs.shape}, {logits.shape} and {patients.shape}"
        raise errors.IsicError(f"expected inputs [n, d], logits [n] and patients [n] with n > 0, got shapes {shapes}")
    if np.isinf(inputs).any() or not np.isfinite(logits).all():
        raise errors.IsicError(
            f"expected inputs that are finite or NaN (unknown), and finite logits, got {np.isinf(inputs).sum()} "
            f"infinite inputs and {(~np.isfinite(logits)).sum()} invalid logits; clip probabilities"
        )
    return inputs, logits, patients


def _calibrate(logits: np.ndarray, targets: np.ndarray) -> tuple[float, float]:
    """Fits slope and intercept of the image-level logits (Platt 1999), so that networks need not begin with them."""
    if targets.min() == targets.max():
        return 1.0, 0.0
    fitted = logistic.fit_logistic(
        logits, targets, spread_of_constants=logistic.MIN_SPREAD, bounds=(_MIN_SLOPE, math.inf)
    )
    return float(fitted.coefficients[0]), fitted.intercept


def _standards(inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the first three fields of `SetModel`: mean, scale and whether values are missing."""
    is_unknown = np.isnan(inputs)
    counts = np.maximum((~is_unknown).sum(axis=0), 1)
    mean = np.where(is_unknown, 0, inputs).sum(axis=0) / counts
    spread = np.sqrt((np.where(is_unknown, 0, inputs - mean) ** 2).sum(axis=0) / counts)
    return mean, np.where(spread > 1e-9, spread, 1.0), is_unknown.any(axis=0)


def _encode(model: SetModel, inputs: np.ndarray, logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features, float32 `[n, dim]`, of which the last is the base; and the base, float64 `[n]`."""
    is_unknown = np.isnan(inputs)
    standardized = np.where(is_unknown, 0, (inputs - model.mean) / model.scale)
    base = model.slope * logits + model.intercept
    features = [np.clip(standardized, -MAX_FEATURE, MAX_FEATURE), is_unknown[:, model.missing], base[:, None]]
    return np.concatenate(features, axis=1).astype("float32"), base


def apply(
    model: SetModel, inputs: np.ndarray, logits: np.ndarray, patients: np.ndarray | Sequence[str | int]
) -> np.ndarray:
    """Corrects the logits of an image-level model.

    Args:
        model: `SetModel`.
        inputs: As for `fit`, of the same columns.
        logits: As for `fit`.
        patients: As for `fit`; all lesions of a patient together.

    Returns:
        float64 `[n]` logits in the order of the rows, which does not influence them. A patient with one lesion gets the
        image-level logit times the slope of the model, plus its intercept, so that the order of such lesions remains.

    Raises:
        IsicError: The arrays do not fit together or the model, or a patient has too many lesions.
    """
    inputs, logits, patients = _check(inputs, logits, patients)
    if inputs.shape[1] != len(model.mean):
        raise errors.IsicError(
            f"expected {len(model.mean)} inputs, as the model was trained on, got {inputs.shape[1]}; apply it to "
            "the same features"
        )
    features, base = _encode(model, inputs, logits)
    tables = (features, base.astype("float32")[:, None])
    indices = length_bucketing.batches(length_bucketing.group(patients, features))
    correct = set_model_training.build_corrector(**model.network)
    corrections = np.zeros(len(base))
    for weights in model.members:
        corrections += correct(weights, tables, indices) / len(model.members)
    return base + model.share * corrections
