"""Gradient boosting and logistic regression on a table: fitted by scikit-learn, saved and applied as plain arrays.

Reading the arrays unpickles nothing, which could run code of the file, and works with any version of scikit-learn.
"""

import typing

import numpy as np
from scipy import special
from threadpoolctl import threadpool_limits

from isic_tf.artifacts import safe_npz
from isic_tf.metrics import logistic
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, saved_files

if typing.TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingClassifier

# One lesion in 57 is malignant, some hundreds in all: many small trees, each split of which sees half of the columns.
_BOOSTERS = 3
_BOOSTING: dict[str, typing.Any] = {
    "learning_rate": 0.1,
    "max_iter": 75,
    "max_leaf_nodes": 6,
    "l2_regularization": 20.0,
    "max_features": 0.5,
    "early_stopping": False,
}
_MIN_SAMPLES = 60
# Where there are more benign lesions for each malignant one than this in each part, a booster sees a part of them.
_BENIGN_PER_MALIGNANT = 10
_PENALTY = 0.05
_BLOCK = 1024
# Rows on which the arrays are compared with scikit-learn.
_COMPARED = 256
_MAX_BYTES = 2**28


_Nodes = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


class Boost(typing.NamedTuple):
    """The mean of the logits of boosted trees and of a logistic regression; the nodes of all trees are in one list."""

    column: np.ndarray  # int64 [nodes], the input that a node compares
    threshold: np.ndarray  # float64 [nodes]
    left: np.ndarray  # int64 [nodes], the next node where the input is at most the threshold; for a leaf itself
    right: np.ndarray  # int64 [nodes], the next node otherwise
    value: np.ndarray  # float64 [nodes], what a leaf adds to the logit
    roots: np.ndarray  # int64 [trees]
    coefficients: np.ndarray  # float64 [columns]
    intercept: np.ndarray  # float64 [], of all


def fit(inputs: np.ndarray, targets: np.ndarray, seed: int = 0) -> Boost:
    """Fits both models.

    Args:
        inputs: Finite float `[n, columns]`.
        targets: 0 or 1, `[n]`, both present.
        seed: Seed of the columns that each split sees.

    Returns:
        `Boost`.

    Raises:
        IsicError: The installed scikit-learn stores trees in another way.
    """
    inputs = np.asarray(inputs, np.float64)
    targets = np.asarray(targets)
    # Threads wait for each other at every node: on a busy machine they take many times as long as one alone.
    with threadpool_limits(1):
        boosters, excess = fit_boosters(inputs, targets, seed)
        linear = logistic.fit_logistic(inputs, targets, c=_PENALTY, max_iterations=1000)
        baseline = np.mean([booster._baseline_prediction.item() for booster in boosters]) - excess
        model = Boost(*_join_trees(boosters), linear.coefficients / 2, np.array((linear.intercept + baseline) / 2))
        compared = inputs[:_COMPARED]
        linear_logits = compared @ linear.coefficients + linear.intercept
        _refuse_difference(model, boosters, linear_logits - excess, compared)
    return model


def fit_boosters(
    inputs: np.ndarray, targets: np.ndarray, seed: int
) -> tuple[list["HistGradientBoostingClassifier"], float]:
    """Fits boosted trees, each to all malignant lesions and to its own part of the benign ones.

    Hundreds of malignant lesions are known no better by 57 benign ones each than by 19, in a third of the time. Weights
    would correct the prevalence, too, but scikit-learn's quantiles of weighted inputs take longer than the trees.

    Args:
        inputs: Finite float64 `[n, columns]`.
        targets: 0 or 1, `[n]`, both present.
        seed: Seed of the parts and of the columns that each split sees.

    Returns:
        The fitted classifiers, and what to subtract from their logits: the logarithm of the number of parts.
    """
    # Applying a model needs no scikit-learn, whose import takes a quarter of a second.
    from sklearn.ensemble import HistGradientBoostingClassifier

    is_malignant = targets == 1
    malignant = int(is_malignant.sum())
    parts = min(_BOOSTERS, max(1, (len(targets) - malignant) // (_BENIGN_PER_MALIGNANT * malignant)))
    part = np.zeros(len(targets), np.int64)
    part[~is_malignant] = np.random.default_rng(seed).permutation(len(targets) - malignant) % parts
    boosters = []
    for number in range(_BOOSTERS):
        own = is_malignant | (part == number % parts)
        booster = HistGradientBoostingClassifier(
            **_BOOSTING, min_samples_leaf=_MIN_SAMPLES // parts, random_state=seed + number
        )
        boosters.append(booster.fit(inputs[own], targets[own]))
    return boosters, float(np.log(parts))


def _join_trees(boosters: typing.Sequence["HistGradientBoostingClassifier"]) -> _Nodes:
    """Returns the first six fields of `Boost`: the nodes of all trees, the values divided for the mean."""
    trees = [predictor.nodes for booster in boosters for (predictor,) in booster._predictors]
    starts = np.cumsum([0, *map(len, trees)])
    nodes = np.concatenate(trees)
    first = np.repeat(starts[:-1], np.diff(starts))
    is_leaf = nodes["is_leaf"].astype(bool)
    own = np.arange(len(nodes))
    left = np.where(is_leaf, own, nodes["left"].astype(np.int64) + first)
    right = np.where(is_leaf, own, nodes["right"].astype(np.int64) + first)
    value = np.where(is_leaf, nodes["value"], 0.0) / (2 * len(boosters))
    return nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], left, right, value, starts[:-1]


def _refuse_difference(
    model: Boost,
    boosters: typing.Sequence["HistGradientBoostingClassifier"],
    others: np.ndarray,
    inputs: np.ndarray,
) -> None:
    """Refuses arrays that do not reproduce scikit-learn, whose trees are not part of its public interface."""
    logits = [special.logit(booster.predict_proba(inputs)[:, 1]) for booster in boosters]
    expected = (np.mean(logits, axis=0) + others) / 2
    if not np.allclose(apply(model, inputs), expected, rtol=1e-6, atol=1e-6):
        raise errors.IsicError(
            "expected scikit-learn to store trees as versions 1.4 to 1.8 do, but its predictions differ from those of "
            "the stored arrays; install one of these versions"
        )


def apply(model: Boost, inputs: np.ndarray) -> np.ndarray:
    """Computes logits.

    Args:
        model: `Boost`.
        inputs: Finite float `[n, columns]`.

    Returns:
        float64 `[n]`.
    """
    inputs = np.ascontiguousarray(inputs, np.float64)
    # The two next nodes of each node, one after the other.
    following = np.stack([model.left, model.right], axis=1).ravel()
    blocks = [_apply_to_block(model, following, inputs[row : row + _BLOCK]) for row in range(0, len(inputs), _BLOCK)]
    return np.concatenate([np.zeros(0), *blocks])


def _apply_to_block(model: Boost, following: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    starts = np.arange(len(inputs))[:, None] * inputs.shape[1]
    values = inputs.ravel()
    node = np.tile(model.roots, (len(inputs), 1))
    while True:
        goes_right = values.take(starts + model.column.take(node)) > model.threshold.take(node)
        reached = following.take(2 * node + goes_right)
        if (reached == node).all():
            return model.value.take(node).sum(axis=1) + inputs @ model.coefficients + model.intercept
        node = reached


def save(model: Boost, path: str) -> None:
    """Writes a model as a NumPy archive."""
    safe_npz.save(path, model._asdict())


def load(path: str) -> Boost:
    """Reads a model.

    Args:
        path: See `save`.

    Returns:
        `Boost`.

    Raises:
        IsicError: The file does not exist.
        CorruptRecordError: The file is too large or damaged.
    """
    if not filesystem.exists(path):
        raise errors.IsicError(f"expected a boosted model at {path}, but the file does not exist; run isic_tf.context")
    with saved_files.explained_damage(path, "a valid boosted model", "write it again with isic_tf.context"):
        with filesystem.open(path) as file:
            arrays = safe_npz.unpack(file, _MAX_BYTES)
        model = Boost(**{name: arrays[name] for name in Boost._fields})
        _check(model)
    return model


def _check(model: Boost) -> None:
    """Refuses arrays with which applying the model could fail or never end."""
    kinds = {
        **dict.fromkeys(("column", "left", "right", "roots"), ("i", 1)),
        **dict.fromkeys(("threshold", "value", "coefficients"), ("f", 1)),
        "intercept": ("f", 0),
    }
    if any((getattr(model, name).dtype.kind, getattr(model, name).ndim) != kind for name, kind in kinds.items()):
        raise errors.CorruptRecordError("unexpected dtypes or shapes")
    if len({part.shape for part in (model.column, model.threshold, model.left, model.right, model.value)}) > 1:
        raise errors.CorruptRecordError("node arrays of different lengths")
    count = len(model.column)
    own = np.arange(count)
    is_leaf = model.left == own
    # Children come after their parents, so that every path ends at a leaf.
    for following in (model.left, model.right):
        if not ((following >= own) & (following < count) & ((following == own) == is_leaf)).all():
            raise errors.CorruptRecordError("tree node index out of range")
    if not ((model.roots >= 0) & (model.roots < count)).all():
        raise errors.CorruptRecordError("tree node index out of range")
    if not ((model.column >= 0) & (model.column < len(model.coefficients)) | is_leaf).all():
        raise errors.CorruptRecordError("column index out of range")
    if not all(np.isfinite(part).all() for part in (model.value, model.coefficients, model.intercept)):
        raise errors.CorruptRecordError("values that are not finite")
