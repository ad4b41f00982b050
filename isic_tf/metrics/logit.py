"""Converts probabilities to logits."""

import numpy as np
from scipy import special

# The logits of 0 and 1 are infinite. 1 - 2**-24 is the largest float32 below 1: nothing that a network predicts lies
# between the two, and the logit of a float64 still nearer to 1 would weigh far more.
LEAST, MOST = 1e-15, 1 - 2.0**-24


def logits(scores):
    """Computes log-odds, none infinite: scores below 1e-15 count as that, above 1 - 2**-24 as that."""
    return special.logit(np.clip(np.asarray(scores, np.float64), LEAST, MOST))
