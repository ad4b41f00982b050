"""A patient's lesions judged together by set attention, as second stage on scores that are there already."""

import hashlib
import io
import json
import math
import os
import typing

import numpy as np
import tensorflow as tf
from scipy import optimize
from sklearn.linear_model import LogisticRegression

from isic_tf.artifacts import safe_npz
from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.optim.config import OptimizerConfig
from isic_tf.patient_context import length_bucketing, set_model_training
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem

# Standardised features beyond are outliers of a test set, or errors.
_BOUND = 8.0
# Stage one keeps its direction, however little it says.
_MIN_SLOPE = 1e-3
_NUMBERS = ("slope", "intercept", "share")
_WEIGHTS, _FACTS, _VERSION = "set.npz", "set.json", 1
# Of what a file may ask for: many times what `fit` makes of a thousand inputs.
_MAX_BYTES, _MAX_MEMBERS = 2**28, 64
_MAX = {"dim": 2**16, "units": 1024, "heads": 64, "blocks": 16}


class SetModel(typing.NamedTuple):
    """An ensemble of set networks and what makes their inputs."""

    mean: np.ndarray  # float64 [d], of the known values
    scale: np.ndarray  # float64 [d], their standard deviation; 1 where they are all alike
    missing: np.ndarray  # bool [d], whether a column beside says where the value is unknown
    slope: float  # of the base, stage one's logits calibrated: what a lesion without others gets
    intercept: float
    share: float  # of the corrections that is added, from 0 to 1
    network: dict  # keyword arguments of `build`
    members: list  # of each network the arrays of its weights


def fit(
    inputs,
    logits,
    patients,
    targets,
    strategy=None,
    seed=0,
    *,
    members=4,
    steps=400,
    learning_rate=2e-3,
    weight_decay=1.0,
    units=32,
    heads=4,
    blocks=1,
    dropout=0.2,
):
    """Trains set networks to correct the logits of stage one.

    Each is trained without a part of the patients. On these it is judged: when to stop, and how much of the corrections
    to believe, so that where a patient's lesions say nothing about each other stage one is left as it is.

    Args:
        inputs: Float `[n, d]`, a lesion a row; not a number where unknown.
        logits: Float `[n]` of stage one, out of fold: those that it gives to images it was trained on say too much.
        patients: Int or text `[n]`; the rows of a patient are a set, a row of blank text one of its own.
        targets: 0 or 1, `[n]`.
        strategy: `tf.distribute.Strategy`; None for the one in scope.
        seed: Seed of the first network, and of TensorFlow's, NumPy's and Python's random numbers.
        members: Number of networks, whose logits are averaged, and of parts of the patients.
        steps: Training steps of a network, each of up to 1,024 lesions; the last pass through all patients is whole.
        learning_rate: Peak of the learning rate, from which it falls on a cosine.
        weight_decay: Decoupled, times the learning rate.
        units: See `build`, as the next three.
        heads: Heads.
        blocks: Blocks.
        dropout: Dropout.

    Returns:
        `SetModel`.

    Raises:
        IsicError: The arrays do not fit together, a logit or target is none, a patient has too many lesions, or the
            training diverges.
    """
    inputs, logits, patients = _check(inputs, logits, patients)
    targets = np.asarray(targets)
    if targets.shape != logits.shape or not np.isin(targets, (0, 1)).all():
        raise errors.IsicError(f"expected a target of 0 or 1 for each of {len(logits)} lesions")
    slope, intercept = _calibrate(logits, targets)
    found = SetModel(*_standards(inputs), slope, intercept, 1.0, {}, [])
    features, base = _encode(found, inputs, logits)
    network = {"dim": features.shape[1], "units": units, "heads": heads, "blocks": blocks, "dropout": dropout}
    # The target last, so that nothing depends on the order of the rows.
    sets = length_bucketing.group(patients, np.column_stack([targets, features]))
    tables = features, base.astype("float32")[:, None], targets.astype("float32")[:, None]
    config = OptimizerConfig(weight_decay=weight_decay, learning_rate=learning_rate)
    strategy = strategy or tf.distribute.get_strategy()
    trained, corrections = set_model_training.train(network, tables, sets, config, steps, strategy, seed, members)
    return found._replace(network=network, members=trained, share=_share(base, corrections, targets))


def _share(base, corrections, targets):
    """Finds the share of the corrections, none to all, that suits best the patients whom the networks did not see."""
    found = optimize.minimize_scalar(
        lambda share: set_model_training.cross_entropy(base + share * corrections, targets),
        bounds=(0, 1),
        method="bounded",
    )
    return float(found.x)


def _check(inputs, logits, patients):
    inputs, logits, patients = np.asarray(inputs, np.float64), np.asarray(logits, np.float64), np.asarray(patients)
    if inputs.ndim != 2 or not len(inputs) or logits.shape != inputs.shape[:1] or patients.shape != logits.shape:
        shapes = f"{inputs.shape}, {logits.shape} and {patients.shape}"
        raise errors.IsicError(f"expected inputs [n, d], logits [n] and patients [n] with n > 0, got shapes {shapes}")
    if np.isinf(inputs).any() or not np.isfinite(logits).all():
        raise errors.IsicError(
            "expected finite inputs, or not a number where unknown, and finite logits; clip probabilities"
        )
    return inputs, logits, patients


def _calibrate(logits, targets):
    """Fits slope and intercept of stage one's log-odds (Platt 1999), so that the networks need not begin with them."""
    if targets.min() == targets.max():
        return 1.0, 0.0
    centre, spread = logits.mean(), max(logits.std(), 1e-9)
    regression = LogisticRegression().fit((logits[:, None] - centre) / spread, targets)
    slope = max(float(regression.coef_[0, 0]), _MIN_SLOPE) / spread
    return slope, float(regression.intercept_[0]) - slope * centre


def _standards(inputs):
    unknown = np.isnan(inputs)
    counts = np.maximum((~unknown).sum(axis=0), 1)
    mean = np.where(unknown, 0, inputs).sum(axis=0) / counts
    spread = np.sqrt((np.where(unknown, 0, inputs - mean) ** 2).sum(axis=0) / counts)
    return mean, np.where(spread > 1e-9, spread, 1.0), unknown.any(axis=0)


def _encode(model, inputs, logits):
    """Gives float32 `[n, dim]` features, of which the base itself is one, and the base in float64 `[n]`."""
    unknown = np.isnan(inputs)
    standard = np.where(unknown, 0, (inputs - model.mean) / model.scale)
    base = model.slope * logits + model.intercept
    features = [np.clip(standard, -_BOUND, _BOUND), unknown[:, model.missing], base[:, None]]
    return np.concatenate(features, axis=1).astype("float32"), base


def apply(model, inputs, logits, patients):
    """Corrects the logits of stage one.

    Args:
        model: `SetModel`.
        inputs: As for `fit`, of the same columns.
        logits: As for `fit`.
        patients: As for `fit`; all lesions of a patient together.

    Returns:
        float64 `[n]` logits in row order. They do not depend on the order of rows; a patient with one lesion gets stage
        one's logit times the model's slope, plus its intercept, so these keep their order.

    Raises:
        IsicError: The arrays do not fit together or the model, or a patient has too many lesions.
    """
    inputs, logits, patients = _check(inputs, logits, patients)
    if inputs.shape[1] != len(model.mean):
        raise errors.IsicError(
            f"expected {len(model.mean)} inputs, those the model was trained on, got {inputs.shape[1]}"
        )
    features, base = _encode(model, inputs, logits)
    tables, corrections = (features, base.astype("float32")[:, None]), np.zeros(len(base))
    indices = length_bucketing.batches(length_bucketing.group(patients, features))
    correct = set_model_training.build_corrector(**model.network)
    for weights in model.members:
        corrections += correct(weights, tables, indices) / len(model.members)
    return base + model.share * corrections


def save(model, folder):
    """Writes a model into a folder: `set.npz`, and last `set.json`, which says what belongs to it."""
    arrays = {"mean": model.mean, "scale": model.scale, "missing": model.missing}
    for number, weights in enumerate(model.members):
        arrays |= {f"member{number}_{place}": weight for place, weight in enumerate(weights)}
    content = io.BytesIO()
    np.savez(content, allow_pickle=False, **arrays)
    with atomic_write.replaced(os.path.join(folder, _WEIGHTS)) as temporary, filesystem.open(temporary, "wb") as file:
        file.write(content.getvalue())
    facts = {"version": _VERSION, "sha256": hashlib.sha256(content.getvalue()).hexdigest()}
    facts |= {name: getattr(model, name) for name in _NUMBERS} | {"members": len(model.members)}
    facts |= {"network": model.network}
    atomic_write.write_text(os.path.join(folder, _FACTS), json.dumps(facts, indent=1, allow_nan=False) + "\n")


def load(folder):
    """Reads what `save` wrote.

    Returns:
        `SetModel`.

    Raises:
        IsicError: There is no such model, or it is damaged.
    """
    try:
        facts, content = (_read(folder, name) for name in (_FACTS, _WEIGHTS))
        facts = json.loads(facts)
        if facts["version"] != _VERSION or facts["sha256"] != hashlib.sha256(content).hexdigest():
            raise errors.IsicError(f"{_WEIGHTS} is not the file that {_FACTS} was written with")
        return _assemble(facts, safe_npz.unpack(io.BytesIO(content), _MAX_BYTES))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        wanted = "a set model, as isic_tf.context --method=set writes it"
        raise errors.IsicError(f"expected {wanted}, got none or a damaged one in {folder}: {error}") from error


def _read(folder, name):
    path = os.path.join(folder, name)
    if not filesystem.exists(path):
        raise errors.IsicError(f"there is no {name}")
    if filesystem.size(path) > _MAX_BYTES:
        raise errors.IsicError(f"{name} has more than {_MAX_BYTES} bytes")
    return filesystem.read(path)


def _assemble(facts, arrays):
    """Puts a model together, none of whose sizes is taken on trust."""
    network, members, numbers = facts["network"], facts["members"], [facts[name] for name in _NUMBERS]
    sizes = {**_MAX, "members": _MAX_MEMBERS}
    for name, most in sizes.items():
        value = network[name] if name in _MAX else members
        if type(value) is not int or not 1 <= value <= most:
            raise errors.IsicError(f"expected {name} from 1 to {most}, got {value!r}")
    if not all(type(number) is float and math.isfinite(number) for number in numbers):
        raise errors.IsicError(f"expected finite numbers as {', '.join(_NUMBERS)}, got {numbers}")
    mean, scale, missing = (arrays[name] for name in ("mean", "scale", "missing"))
    wanted = [weight.shape for weight in build_set_transformer(**network).weights]
    weights = [[arrays[f"member{number}_{place}"] for place in range(len(wanted))] for number in range(members)]
    width = len(mean) + int(missing.sum()) + 1
    if {mean.shape, scale.shape, missing.shape} != {(len(mean),)} or network["dim"] != width or missing.dtype != bool:
        raise errors.IsicError("its inputs and its network do not fit together")
    if any([weight.shape for weight in member] != wanted for member in weights):
        raise errors.IsicError("its weights and its network do not fit together")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise errors.IsicError("a weight is no number")
    return SetModel(mean, scale, missing, *numbers, network, weights)
