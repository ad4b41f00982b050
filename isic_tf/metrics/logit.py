"""Converts probabilities to logits."""

import numpy as np
import numpy.typing as npt
from scipy import special

# The logits of 0 and 1 are infinite. 1 - 2**-24 is the largest float32 below 1: no prediction of a network lies between
# the two, and the logit of a float64 still closer to 1 would weigh far more.
LEAST = 1e-15
MOST = 1 - 2.0**-24


def logits(scores: npt.ArrayLike) -> np.ndarray:
    """Computes finite log-odds.

    Args:
        scores: Float from 0 to 1, of any shape; clipped to 1e-15 and 1 - 2**-24.

    Returns:
        float64 of the same shape.

    Examples:
        >>> logits([0.5, 0.75]).round(4).tolist()
        [0.0, 1.0986]
    """
    return special.logit(np.clip(np.asarray(scores, np.float64), LEAST, MOST))
