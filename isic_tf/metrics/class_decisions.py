"""Decides on a class by the highest probability, and computes the figures of the decisions.

As the official scorer of the ISIC challenges has it, an image is undecided where several classes share the highest
probability: a decision of its own, which is wrong whatever the class of the image.
"""

import numpy as np
import numpy.typing as npt

UNDECIDED = -1


def decide(probabilities: npt.ArrayLike) -> np.ndarray:
    """Decides on the class of each image: the one with the highest probability.

    Args:
        probabilities: Float `[n, c]`.

    Returns:
        int64 `[n]`, the number of the class; `UNDECIDED` where several have the highest probability.

    Examples:
        >>> decide([[0.2, 0.7, 0.1], [0.4, 0.4, 0.2]]).tolist()
        [1, -1]
    """
    values = np.asarray(probabilities, np.float64)
    highest = values.max(axis=1, keepdims=True)
    is_tied = (values == highest).sum(axis=1) > 1
    return np.where(is_tied, UNDECIDED, values.argmax(axis=1)).astype(np.int64)


def number_cells(truth: np.ndarray, decided: np.ndarray, classes: int) -> np.ndarray:
    """Numbers the cell of the confusion matrix that each image is in, row by row.

    Args:
        truth: int `[n]`, the class of each image.
        decided: int `[n]`, see `decide`.
        classes: Number of classes c.

    Returns:
        int64 `[n]`, from 0 to c * (c + 1) - 1; the last cell of each row is that of the undecided images.
    """
    column = np.where(decided == UNDECIDED, classes, decided)
    return (truth * (classes + 1) + column).astype(np.int64)


def confusion_matrix(truth: npt.ArrayLike, decided: npt.ArrayLike, classes: int) -> np.ndarray:
    """Counts the images of each class (rows) by what they are decided to be (columns).

    Args:
        truth: int `[n]`, the class of each image.
        decided: int `[n]`, see `decide`.
        classes: Number of classes c.

    Returns:
        int64 `[c, c + 1]`; the last column counts the undecided images.

    Examples:
        >>> confusion_matrix([0, 0, 1], [0, -1, 0], classes=2).tolist()
        [[1, 0, 1], [1, 0, 0]]
    """
    cells = number_cells(np.asarray(truth), np.asarray(decided), classes)
    return np.bincount(cells, minlength=classes * (classes + 1)).reshape(classes, classes + 1)


def compute_rates(counts: npt.ArrayLike) -> dict[str, np.ndarray]:
    """Computes the figures of confusion matrices, of the images or of many resamples.

    Args:
        counts: Numbers `[c, c + 1, ...]`, see `confusion_matrix`.

    Returns:
        Dict of the figures of each class, float64 `[c, ...]`: `sensitivity`, `specificity`, `precision` and `f1`; and
        of all together, `[...]`: `accuracy`, and the means over the classes that have images, `balanced_accuracy`
        (of the sensitivity) and `macro_f1`. NaN where a figure is 0 of 0.
    """
    cells = np.asarray(counts, np.float64)
    classes = len(cells)
    correct = np.moveaxis(np.diagonal(cells, axis1=0, axis2=1), -1, 0)
    own = cells.sum(axis=1)
    called = cells[:, :classes].sum(axis=0)
    total = own.sum(axis=0)
    rates = _rate_classes(correct, own, called, total)
    has_images = own > 0
    return {
        **rates,
        "accuracy": _divide(correct.sum(axis=0), total),
        "balanced_accuracy": _mean_where(rates["sensitivity"], has_images),
        "macro_f1": _mean_where(rates["f1"], has_images),
    }


def compute_label_rates(
    correct: np.ndarray, own: np.ndarray, called: np.ndarray, total: np.ndarray
) -> dict[str, np.ndarray]:
    """Computes the figures of decisions for each of several classes that do not exclude each other.

    Args:
        correct: Images of each class that are called it, float64 `[c, r]`.
        own: Images of each class, `[c, r]`.
        called: Images that are called each class, `[c, r]`.
        total: All images, `[r]`.

    Returns:
        Dict, see `compute_rates`; `accuracy` and `balanced_accuracy` are means over the classes, the latter of the mean
        of sensitivity and specificity.

    Examples:
        >>> counts = ([[1.0], [1.0]], [[2.0], [1.0]], [[1.0], [2.0]], [4.0])
        >>> figures = compute_label_rates(*map(np.array, counts))
        >>> float(figures["balanced_accuracy"][0]), float(figures["accuracy"][0])
        (0.7916666666666666, 0.75)
    """
    rates = _rate_classes(correct, own, called, total)
    right = total - own - called + 2 * correct
    has_images = own > 0
    balanced = (rates["sensitivity"] + rates["specificity"]) / 2
    return {
        **rates,
        "accuracy": _divide(right, total).mean(axis=0),
        "balanced_accuracy": _mean_where(balanced, has_images),
        "macro_f1": _mean_where(rates["f1"], has_images),
    }


def _rate_classes(correct: np.ndarray, own: np.ndarray, called: np.ndarray, total: np.ndarray) -> dict[str, np.ndarray]:
    """Computes the figures of each class; that of F1 is NaN where the class has no images."""
    others = total - own
    return {
        "sensitivity": _divide(correct, own),
        "specificity": _divide(others - (called - correct), others),
        "precision": _divide(correct, called),
        "f1": np.where(own > 0, _divide(2 * correct, own + called), np.nan),
    }


def _divide(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divides; NaN where the denominator is 0."""
    numerator, denominator = np.broadcast_arrays(numerator, denominator)
    whole = np.full(denominator.shape, np.nan)
    return np.divide(numerator, denominator, out=whole, where=denominator > 0)


def _mean_where(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Averages the chosen classes; NaN where there is none."""
    return _divide(np.where(chosen, values, 0).sum(axis=0), chosen.sum(axis=0))
