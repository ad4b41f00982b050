"""Logistic regression on centered and scaled inputs, with coefficients of the original inputs."""

import typing

import numpy as np

# `scipy.optimize` is imported at its first use, which applying a fit does without.
import scipy
from scipy import special

# Columns that spread less are constant up to rounding.
MIN_SPREAD = 1e-9
# Newton's method: iterations, change of the parameters that ends them, and condition of a singular matrix.
_NEWTON_STEPS = 50
_NEWTON_TOLERANCE = 1e-10
_SINGULAR = 1e12


class LogisticFit(typing.NamedTuple):
    """A fitted regression: the log-odds of class 1 are `inputs @ coefficients + intercept`."""

    coefficients: np.ndarray  # float64 [m], of the original inputs
    intercept: float


def fit_logistic(
    inputs: np.ndarray,
    targets: np.ndarray,
    *,
    c: float | None = 1.0,
    max_iterations: int = 100,
    scale: bool = True,
    spread_of_constants: float = np.inf,
    with_intercept: bool = True,
    bounds: tuple[float, float] | None = None,
) -> LogisticFit:
    """Fits a logistic regression to centered and scaled inputs and folds the coefficients back to the original inputs.

    About their center, slope and intercept hardly depend on each other; in units of their spread, the penalty does not
    depend on the units of the inputs.

    Args:
        inputs: Finite float `[n, m]`, or `[n]` for one input.
        targets: `[n]`: 0 or 1, both present; without a penalty any numbers from 0 to 1.
        c: Inverse strength of the L2 penalty, solved by scikit-learn's L-BFGS (intercept not penalized); None for the
            maximum likelihood within the bounds, solved by Newton's method or, where a bound holds, SciPy's L-BFGS-B.
        max_iterations: Maximum number of iterations of the solver.
        scale: Whether to divide each input by its standard deviation.
        spread_of_constants: What to divide inputs by whose standard deviation is below 1e-9; infinity excludes them.
        with_intercept: Whether to center the inputs and fit an intercept; else it is 0. Only without a penalty.
        bounds: Lowest and highest coefficient of the centered and scaled inputs; None for no bounds. Penalized
            coefficients are clipped after the fit.

    Returns:
        `LogisticFit`.

    Examples:
        >>> fit = fit_logistic(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, 1]))
        >>> fit.coefficients.round(2), round(fit.intercept, 2)
        (array([0.41]), -1.01)
    """
    inputs = np.asarray(inputs, np.float64)
    if inputs.ndim == 1:
        inputs = inputs[:, np.newaxis]
    center = inputs.mean(axis=0) if with_intercept else np.zeros(inputs.shape[1])
    spread = np.ones(inputs.shape[1])
    if scale:
        spread = inputs.std(axis=0)
        spread[spread < MIN_SPREAD] = spread_of_constants
    standardized = (inputs - center) / spread
    if c is None:
        standard, intercept = _fit_within(standardized, targets, with_intercept, bounds, max_iterations)
    else:
        # Applying a fit needs no scikit-learn, whose import takes a quarter of a second.
        from sklearn.linear_model import LogisticRegression

        regression = LogisticRegression(C=c, max_iter=max_iterations).fit(standardized, targets)
        standard = regression.coef_[0] if bounds is None else np.clip(regression.coef_[0], *bounds)
        intercept = float(regression.intercept_[0])
    coefficients = standard / spread
    return LogisticFit(coefficients, float(intercept - center @ coefficients))


def _fit_within(
    inputs: np.ndarray,
    targets: np.ndarray,
    with_intercept: bool,
    bounds: tuple[float, float] | None,
    max_iterations: int,
) -> tuple[np.ndarray, float]:
    """Returns the coefficients and intercept of the least cross-entropy within bounds of the coefficients."""
    count = inputs.shape[1]
    start = np.array([*[1.0] * count, special.logit(targets.mean()) if with_intercept else 0.0])
    design = np.column_stack([inputs, np.ones(len(inputs))]) if with_intercept else inputs
    # A tenth of the time where it finds the maximum and no bound holds it back.
    newton = fit_newton(design, targets, start[: design.shape[1]])
    if newton is not None:
        coefficients = newton[0][:count]
        if bounds is None or (coefficients.min() >= bounds[0] and coefficients.max() <= bounds[1]):
            return coefficients, float(newton[0][count]) if with_intercept else 0.0

    def loss(values: np.ndarray) -> tuple[float, np.ndarray]:
        logits = inputs @ values[:-1] + values[-1]
        error = special.expit(logits) - targets
        gradient = [*((error * column).mean() for column in inputs.T), error.mean()]
        return (np.logaddexp(0, logits) - targets * logits).mean(), np.array(gradient)

    limits = [bounds or (None, None)] * count + [(None, None) if with_intercept else (0, 0)]
    options = {"ftol": 1e-15, "gtol": 1e-10, "maxiter": max_iterations}
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=limits, options=options).x
    return found[:-1], float(found[-1])


def fit_newton(design: np.ndarray, targets: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """Fits a logistic regression by Newton's method to the maximum likelihood.

    Args:
        design: float64 `[n, p]`, inputs about 0 and of about unit spread, and a column of ones for an intercept.
        targets: Numbers from 0 to 1, `[n]`.
        start: float64 `[p]`, parameters to start from.

    Returns:
        The parameters, float64 `[p]`, and the information matrix of the last step, float64 `[p, p]`; None where there
        is no maximum, as with separable classes.
    """
    fitted = start
    for _ in range(_NEWTON_STEPS):
        probability = special.expit(design @ fitted)
        information = (design * (probability * (1 - probability))[:, None]).T @ design
        # Singular where classes are separable: the slope grows without bound.
        if np.linalg.cond(information) > _SINGULAR:
            return None
        step = np.linalg.solve(information, design.T @ (targets - probability))
        fitted = fitted + step
        if np.abs(step).max() < _NEWTON_TOLERANCE:
            return fitted, information
    return None
