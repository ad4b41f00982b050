"""Whether predictions are probabilities: of the images predicted 0.1, is one in ten malignant?"""

import numpy as np
from scipy import optimize, special
from sklearn.metrics import brier_score_loss, log_loss

from isic_tf.metrics import logit

_BINS = 10
# Spread of logits, in nats, that rounding alone may leave.
_ALIKE = 1e-9


def assess(targets, scores, groups):
    """Judges predictions as probabilities.

    Args:
        targets: 0 or 1, `[n]`, some of either.
        scores: Float in [0, 1], `[n]`.
        groups: int `[n]`, number of the patient of each image.

    Returns:
        Dict of
        - `brier`: mean squared error (Brier 1950); `log_loss`: mean cross-entropy, in nats;
        - `ece`: expected calibration error over 10 bins of equal width (Naeini et al., AAAI 2015), `ece_equal_count`
          over 10 bins of equally many images, since few images are predicted above 0.1;
        - `slope` and `intercept` of a logistic regression of the target on the prediction's logit (Cox, Biometrika
          1958): 1 and 0 for probabilities; `slope_low` to `intercept_high`, their 95 % intervals (sandwich estimate
          over patients); all None where the classes are apart or the predictions all alike;
        - `in_the_large`: the intercept where the slope is held at 1, below 0 where too much is predicted;
        - `mean_prediction` and `prevalence`;
        - `bins`: list of dicts, one a bin of equally many images: `low`, `high`, `images`, `predicted`, `observed`.
    """
    targets, scores = np.asarray(targets), np.asarray(scores, np.float64)
    alike = bins(targets, scores, np.quantile(scores, np.linspace(0, 1, _BINS + 1)))
    figures = {
        "brier": float(brier_score_loss(targets, scores)),
        "log_loss": float(log_loss(targets, scores)),
        "ece": calibration_error(bins(targets, scores, np.linspace(0, 1, _BINS + 1))),
        "ece_equal_count": calibration_error(alike),
        "mean_prediction": float(scores.mean()),
        "prevalence": float(targets.mean()),
    }
    logits = logit.logits(scores)
    return {**figures, **cox(targets, logits, groups), "in_the_large": in_the_large(targets, logits), "bins": alike}


def bins(targets, scores, edges):
    """Sorts images into bins by prediction: from the lower edge to below the upper one, the last to its edge.

    Args:
        targets: 0 or 1, `[n]`.
        scores: Float `[n]`.
        edges: Edges in order, the first and last about all scores; a bin between equal ones is left out.

    Returns:
        List of dicts, one a bin with images: `low` and `high` edge, `images`, the mean prediction (`predicted`) and
        the malignant share (`observed`).
    """
    edges = np.unique(edges)
    number = np.clip(np.searchsorted(edges, scores, "right") - 1, 0, max(len(edges) - 2, 0))
    sums = [np.bincount(number, weights) for weights in (np.ones(len(scores)), scores, targets)]
    upper = edges[1:] if len(edges) > 1 else edges
    columns = zip(edges, upper, *sums, strict=False)
    return [
        {"low": float(low), "high": float(high), "images": int(n), "predicted": float(p / n), "observed": float(y / n)}
        for low, high, n, p, y in columns
        if n
    ]


def calibration_error(found):
    """Computes the expected calibration error of `bins`: the mean distance of predicted to observed over images."""
    images = sum(one["images"] for one in found)
    return sum(one["images"] * abs(one["predicted"] - one["observed"]) for one in found) / images


def in_the_large(targets, logits):
    """Finds what to add to all logits so that as many malignant images are predicted as there are."""
    missing = lambda shift: special.expit(logits + shift).mean() - targets.mean()  # noqa: E731
    return float(optimize.brentq(missing, -60, 60))


def cox(targets, logits, groups):
    """Regresses the target on the logit by maximum likelihood (Newton's method).

    Args:
        targets: 0 or 1, `[n]`.
        logits: Float `[n]`, finite.
        groups: int `[n]`, number of the patient of each image.

    Returns:
        Dict of slope, slope_low, slope_high, intercept, intercept_low and intercept_high; see `assess`.
    """
    names = [f"{name}{end}" for name in ("slope", "intercept") for end in ("", "_low", "_high")]
    centre, spread = logits.mean(), logits.std()
    if spread < _ALIKE:
        return dict.fromkeys(names)
    # About their centre and in units of their spread, slope and intercept hardly depend on each other.
    design = np.stack([(logits - centre) / spread, np.ones(len(logits))], axis=1)
    fitted = np.array([0.0, special.logit(targets.mean())])
    for _ in range(50):
        probability = special.expit(design @ fitted)
        information = (design * (probability * (1 - probability))[:, None]).T @ design
        # Singular where classes are apart and the slope grows without end.
        if np.linalg.cond(information) > 1e12:
            return dict.fromkeys(names)
        step = np.linalg.solve(information, design.T @ (targets - probability))
        fitted = fitted + step
        if np.abs(step).max() < 1e-10:
            break
    else:
        return dict.fromkeys(names)
    # A patient's images are not independent (Liang and Zeger, Biometrika 1986).
    residuals = design * (targets - special.expit(design @ fitted))[:, None]
    scores = np.stack([np.bincount(groups, column) for column in residuals.T], axis=1)
    inverse = np.linalg.inv(information)
    back = np.array([[1 / spread, 0], [-centre / spread, 1]])
    covariance = back @ inverse @ (scores.T @ scores) @ inverse @ back.T
    fitted, reach = back @ fitted, 1.959964 * np.sqrt(np.diag(covariance))
    return dict(zip(names, np.stack([fitted, fitted - reach, fitted + reach], axis=1).ravel().tolist(), strict=True))
