import numpy as np
import pytest
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression

from isic_tf.metrics import logistic


@pytest.fixture(scope="module")
def data():
    """1,000 rows of three inputs with different units and one constant input."""
    rng = np.random.default_rng(0)
    inputs = np.column_stack([rng.normal(5, 1, 1000), rng.normal(-300, 80, 1000), rng.normal(0, 1e-3, 1000)])
    logits = 0.8 * (inputs[:, 0] - 5) - 0.01 * (inputs[:, 1] + 300)
    targets = (rng.random(1000) < special.expit(logits)).astype(int)
    return np.column_stack([inputs, np.full(1000, 7.0)]), targets


def test_coefficients_worked_by_hand():
    # Of 4 images at 0, one is malignant, of 4 at 2, three: logits -log(3) and log(3), a slope of log(3).
    inputs = np.array([0.0] * 4 + [2.0] * 4)
    targets = np.array([0, 0, 0, 1, 0, 1, 1, 1])
    fit = logistic.fit_logistic(inputs, targets, c=None, scale=False, max_iterations=1000)
    assert fit.coefficients == pytest.approx([np.log(3)], abs=1e-6)
    assert fit.intercept == pytest.approx(-np.log(3), abs=1e-6)


def test_the_coefficients_are_of_the_original_inputs(data):
    inputs, targets = data
    fit = logistic.fit_logistic(inputs, targets, max_iterations=1000)
    center = inputs.mean(axis=0)
    spread = np.where(inputs.std(axis=0) > 0, inputs.std(axis=0), 1)
    standardized = (inputs - center) / spread
    expected = LogisticRegression(max_iter=1000).fit(standardized, targets).decision_function(standardized)
    assert inputs @ fit.coefficients + fit.intercept == pytest.approx(expected, abs=1e-9)


def test_the_units_of_an_input_do_not_change_the_logits(data):
    inputs, targets = data
    fit = logistic.fit_logistic(inputs[:, :3], targets)
    other = logistic.fit_logistic(inputs[:, :3] * [1e3, 1, 1e-2] + [5, -7, 0], targets)
    assert other.coefficients * [1e3, 1, 1e-2] == pytest.approx(fit.coefficients, rel=1e-5)


def test_a_constant_input_is_excluded_or_keeps_a_finite_coefficient(data):
    inputs, targets = data
    assert logistic.fit_logistic(inputs, targets).coefficients[3] == 0
    alone = logistic.fit_logistic(inputs[:, 3], targets, spread_of_constants=logistic.MIN_SPREAD)
    assert np.isfinite(alone.coefficients).all()
    assert alone.coefficients[0] * 7 + alone.intercept == pytest.approx(special.logit(targets.mean()), abs=1e-4)


def test_a_stronger_penalty_shrinks_the_coefficients(data):
    inputs, targets = data
    weak = logistic.fit_logistic(inputs, targets, c=1.0)
    strong = logistic.fit_logistic(inputs, targets, c=1e-3)
    assert abs(strong.coefficients[0]) < 0.6 * abs(weak.coefficients[0])


def test_penalized_coefficients_are_clipped_in_units_of_the_spread(data):
    inputs, targets = data
    # The second input lowers the logit: its coefficient is raised to the bound, over its spread of about 80.
    fit = logistic.fit_logistic(inputs[:, 1], targets, bounds=(1e-3, np.inf))
    assert fit.coefficients == pytest.approx([1e-3 / inputs[:, 1].std()], rel=1e-12)


def test_without_an_intercept_the_logit_of_0_is_0():
    rng = np.random.default_rng(0)
    inputs = rng.normal(1, 2, 500)
    targets = (rng.random(500) < special.expit(0.5 * inputs)).astype(float)
    fit = logistic.fit_logistic(inputs, targets, c=None, scale=False, with_intercept=False, max_iterations=1000)
    assert fit.intercept == 0

    def loss(slope):
        return (np.logaddexp(0, slope * inputs) - targets * slope * inputs).mean()

    assert fit.coefficients[0] == pytest.approx(optimize.minimize_scalar(loss, bracket=(0, 1)).x, abs=1e-5)


def test_targets_between_0_and_1_are_fitted_within_the_bounds():
    inputs = np.array([-1.0, 1.0])
    # A slope of logit(0.9) fits both.
    fit = logistic.fit_logistic(inputs, np.array([0.1, 0.9]), c=None, scale=False, max_iterations=1000)
    assert fit.coefficients == pytest.approx([special.logit(0.9)], abs=1e-6)
    bounded = logistic.fit_logistic(inputs, np.array([0.1, 0.9]), c=None, scale=False, bounds=(0.5, 2.0))
    assert bounded.coefficients == pytest.approx([2.0])


def test_one_input_is_the_same_as_a_column(data):
    inputs, targets = data
    for options in ({}, {"c": None, "scale": False, "bounds": (1e-3, 1e3), "max_iterations": 1000}):
        flat = logistic.fit_logistic(inputs[:, 0], targets, **options)
        column = logistic.fit_logistic(inputs[:, :1], targets, **options)
        assert flat.coefficients.tolist() == column.coefficients.tolist()
        assert flat.intercept == column.intercept


def test_newtons_method_finds_the_maximum_likelihood(data):
    inputs, targets = data
    standardized = (inputs[:, 0] - inputs[:, 0].mean()) / inputs[:, 0].std()
    design = np.column_stack([standardized, np.ones(len(targets))])
    fitted, information = logistic.fit_newton(design, targets, np.zeros(2))
    expected = LogisticRegression(C=1e10, tol=1e-10, max_iter=1000).fit(standardized[:, None], targets)
    assert fitted == pytest.approx([expected.coef_[0, 0], expected.intercept_[0]], abs=1e-5)
    probability = special.expit(design @ fitted)
    by_hand = (design * (probability * (1 - probability))[:, None]).T @ design
    assert information == pytest.approx(by_hand, rel=1e-6)


def test_newtons_method_returns_none_for_separable_classes():
    design = np.column_stack([[-1.0, -0.5, 0.5, 1.0], np.ones(4)])
    assert logistic.fit_newton(design, np.array([0, 0, 1, 1]), np.zeros(2)) is None
