"""Gradient boosting and logistic regression on a table: fitted by scikit-learn, kept and applied as plain arrays.

The arrays are read without unpickling, which would run what a file says, and by any version of scikit-learn.
"""

import typing

import numpy as np
from scipy import special
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from isic_tf.artifacts import safe_npz
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem

# One lesion in 57 is malignant, some hundred in all: many small trees, each of which sees half of the columns.
_BOOSTERS = 3
_BOOSTING = {
    "learning_rate": 0.05,
    "max_iter": 150,
    "max_leaf_nodes": 6,
    "min_samples_leaf": 60,
    "l2_regularization": 20.0,
    "max_features": 0.5,
    "early_stopping": False,
}
_PENALTY = 0.05
_BLOCK = 1024
# Rows on which the arrays are held against scikit-learn.
_COMPARED = 256
_MOST_BYTES = 2**28


class Boost(typing.NamedTuple):
    """The mean of the logits of boosted trees and of a logistic regression; the nodes of all trees are in one list."""

    column: np.ndarray  # int64 [nodes], of the input that a node asks for
    threshold: np.ndarray  # float64 [nodes]
    left: np.ndarray  # int64 [nodes], the next node where the input is at most the threshold; a leaf's is its own
    right: np.ndarray  # int64 [nodes], the next node otherwise
    value: np.ndarray  # float64 [nodes], what a leaf adds to the logit
    roots: np.ndarray  # int64 [trees]
    coefficients: np.ndarray  # float64 [columns]
    intercept: np.ndarray  # float64 [], of all


def fit(inputs, targets, seed=0):
    """Fits both models.

    Args:
        inputs: Finite float `[n, columns]`.
        targets: 0 or 1, `[n]`, both of them there.
        seed: Fixes the columns that each tree sees.

    Returns:
        `Boost`.
    """
    inputs, targets = np.asarray(inputs, np.float64), np.asarray(targets)
    # Threads wait for each other at every node: on a machine that does anything else, many times as long as one alone.
    with threadpool_limits(1):
        models = [
            HistGradientBoostingClassifier(**_BOOSTING, random_state=seed + number) for number in range(_BOOSTERS)
        ]
        boosters = [model.fit(inputs, targets) for model in models]
        centre, spread = inputs.mean(axis=0), inputs.std(axis=0)
        # A column without spread has nothing to tell.
        spread[spread < 1e-9] = np.inf
        regression = LogisticRegression(C=_PENALTY, max_iter=1000).fit((inputs - centre) / spread, targets)
        coefficients = regression.coef_[0] / spread
        intercept = regression.intercept_[0] - coefficients @ centre
        baseline = np.mean([booster._baseline_prediction.item() for booster in boosters])
        model = Boost(*_join(boosters), coefficients / 2, np.array((intercept + baseline) / 2))
        some = inputs[:_COMPARED]
        _compare(model, boosters, regression.predict_proba((some - centre) / spread)[:, 1], some)
    return model


def _join(boosters):
    """Lists the nodes of all trees, leaves with their share of the mean."""
    trees = [predictor.nodes for booster in boosters for (predictor,) in booster._predictors]
    starts = np.cumsum([0, *map(len, trees)])
    nodes = np.concatenate(trees)
    first, leaf = np.repeat(starts[:-1], np.diff(starts)), nodes["is_leaf"].astype(bool)
    own = np.arange(len(nodes))
    left, right = (np.where(leaf, own, nodes[side].astype(np.int64) + first) for side in ("left", "right"))
    value = np.where(leaf, nodes["value"], 0.0) / (2 * len(boosters))
    return nodes["feature_idx"].astype(np.int64), nodes["num_threshold"], left, right, value, starts[:-1]


def _compare(model, boosters, linear, inputs):
    """Refuses arrays that do not say what scikit-learn does, whose trees are no public part of it."""
    logits = [special.logit(booster.predict_proba(inputs)[:, 1]) for booster in boosters]
    expected = (np.mean(logits, axis=0) + special.logit(linear)) / 2
    if not np.allclose(apply(model, inputs), expected, rtol=1e-6, atol=1e-6):
        raise errors.IsicError(
            "scikit-learn keeps its trees in another way than versions 1.4 to 1.8; install one of these"
        )


def apply(model, inputs):
    """Computes logits.

    Args:
        model: `Boost`.
        inputs: Finite float `[n, columns]`.

    Returns:
        float64 `[n]`.
    """
    inputs = np.ascontiguousarray(inputs, np.float64)
    return np.concatenate(
        [np.zeros(0), *(_apply(model, inputs[row : row + _BLOCK]) for row in range(0, len(inputs), _BLOCK))]
    )


def _apply(model, inputs):
    rows, node = np.arange(len(inputs))[:, None], np.tile(model.roots, (len(inputs), 1))
    while True:
        goes_left = inputs[rows, model.column[node]] <= model.threshold[node]
        following = np.where(goes_left, model.left[node], model.right[node])
        if (following == node).all():
            return model.value[node].sum(axis=1) + inputs @ model.coefficients + model.intercept
        node = following


def save(model, path):
    """Writes a model as a NumPy archive."""
    with atomic_write.replaced(path) as temporary, filesystem.open(temporary, "wb") as file:
        np.savez_compressed(file, **model._asdict())


def load(path):
    """Reads a model.

    Args:
        path: See `save`.

    Returns:
        `Boost`.

    Raises:
        IsicError: The file is not there, is too large, or is damaged.
    """
    if not filesystem.exists(path):
        raise errors.IsicError(f"expected a boosted model at {path}, found none; make it with isic_tf.context")
    try:
        with filesystem.open(path) as file:
            arrays = safe_npz.unpack(file, _MOST_BYTES)
        model = Boost(**{name: arrays[name] for name in Boost._fields})
        _check(model)
    except (ValueError, KeyError) as error:
        raise errors.IsicError(f"{path} is no boosted model ({error!r}); make it again with isic_tf.context") from error
    return model


def _check(model):
    nodes, own = len(model.column), np.arange(len(model.column))
    kinds = dict.fromkeys(("column", "left", "right", "roots"), "i") | dict.fromkeys(("threshold", "value"), "f")
    if any(getattr(model, name).dtype.kind != kind or getattr(model, name).ndim != 1 for name, kind in kinds.items()):
        raise errors.IsicError("its arrays are of other kinds")
    shapes = {part.shape for part in (model.column, model.threshold, model.left, model.right, model.value)}
    # Children come after their parents, so that every way ends.
    leaf = model.left == own
    inside = [(part >= own) & (part < nodes) & ((part == own) == leaf) for part in (model.left, model.right)]
    columns = (model.column >= 0) & (model.column < len(model.coefficients)) | leaf
    if len(shapes) > 1 or not all(
        part.all() for part in (*inside, columns, (model.roots >= 0) & (model.roots < nodes))
    ):
        raise errors.IsicError("its nodes lead nowhere")
    if not all(np.isfinite(part).all() for part in (model.value, model.coefficients, model.intercept)):
        raise errors.IsicError("it holds numbers that are not finite")
