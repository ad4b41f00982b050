import dataclasses

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from isic_tf.patient_context import set_model, set_model_training
from isic_tf.patient_context.set_model_training import SetModelOptions

QUICK = SetModelOptions(members=2, steps=1, units=8, heads=2, dropout=0.0)


def make_lesions(patients, seed, dim=8):
    """Draws lesions whose malignancy shows only beside the patient's others; gives what `fit` takes.

    A patient has a look, a quarter of the patients a melanoma, which departs from the look in a direction of its own by
    less than looks do from each other.
    """
    rng = np.random.default_rng(seed)
    numbers = np.repeat(np.arange(patients), rng.integers(4, 9, patients))
    inputs = rng.normal(size=(patients, dim))[numbers] + 0.2 * rng.normal(size=(len(numbers), dim))
    targets = np.zeros(len(numbers), int)
    for patient in np.flatnonzero(rng.random(patients) < 0.25):
        row = rng.choice(np.flatnonzero(numbers == patient))
        direction = rng.normal(size=dim)
        inputs[row] += 1.5 * direction / np.linalg.norm(direction)
        targets[row] = 1
    return inputs, rng.normal(size=len(numbers)) + 0.36 * targets - 3, numbers, targets


@pytest.fixture(scope="module")
def lesions():
    return make_lesions(250, seed=1)


@pytest.fixture(scope="module")
def model(lesions):
    return set_model.fit(*lesions, options=SetModelOptions(members=2, steps=50, learning_rate=6e-3))


@pytest.fixture(scope="module")
def few():
    """20 patients with unknown inputs in one column."""
    inputs, *others = make_lesions(20, seed=3, dim=3)
    inputs[::3, 1] = np.nan
    return inputs, *others


@pytest.fixture(scope="module")
def quick(few):
    """A model of `few`, hardly trained."""
    return set_model.fit(*few, options=QUICK)


def test_the_ugly_duckling_is_found_where_stage_one_does_not_see_it(model):
    inputs, logits, patients, targets = make_lesions(600, seed=2)
    assert 0.55 < roc_auc_score(targets, logits) < 0.65
    assert roc_auc_score(targets, set_model.apply(model, inputs, logits, patients)) >= 0.85
    # Nothing but the company that a lesion is in has changed.
    strangers = np.random.default_rng(0).permutation(patients)
    assert roc_auc_score(targets, set_model.apply(model, inputs, logits, strangers)) < 0.65


def test_the_order_and_the_names_of_patients_do_not_matter(model, lesions):
    inputs, logits, patients, _ = lesions
    given = set_model.apply(model, inputs, logits, patients)
    assert given.dtype == np.float64
    order = np.random.default_rng(0).permutation(len(logits))
    assert np.array_equal(set_model.apply(model, inputs[order], logits[order], patients[order]), given[order])
    renamed = np.char.add("IP_", (1000 - patients).astype(str))
    assert set_model.apply(model, inputs, logits, renamed) == pytest.approx(given, abs=1e-5)


def test_neither_replicas_nor_the_order_of_rows_change_the_training(quick, few, mirrored, monkeypatch):
    order, seen, passed = np.random.default_rng(0).permutation(len(few[1])), [], set_model_training._run_epoch

    def watching(step, tables, part, *others):
        seen.append({row for rows in part for row in rows})
        return passed(step, tables, part, *others)

    monkeypatch.setattr(set_model_training, "_run_epoch", watching)
    other = set_model.fit(*(part[order] for part in few), mirrored, QUICK)
    # Believed in full, however little there is to believe after a step.
    one, two = (set_model.apply(model._replace(share=1.0), *few[:3]) for model in (quick, other))
    assert two == pytest.approx(one, abs=1e-5)
    assert np.abs(one - quick.slope * few[1] - quick.intercept).max() > 1e-3
    assert other.share == pytest.approx(quick.share, abs=1e-3)
    # Each network learns from the patients whom the other is judged on.
    assert len(seen) == 2
    assert seen[0].isdisjoint(seen[1])
    assert seen[0] | seen[1] == set(range(len(order)))


def test_patients_of_one_lesion_keep_the_order_of_stage_one(model, lesions):
    inputs, logits, *_ = lesions
    for patients in (np.arange(len(logits)), np.full(len(logits), "")):
        assert np.array_equal(set_model.apply(model, inputs, logits, patients), model.slope * logits + model.intercept)
    assert model.slope > 0


def test_a_stage_one_that_is_wrong_keeps_its_direction():
    slope, _ = set_model._calibrate(np.arange(10.0), np.arange(10) < 5)
    assert 0 < slope < 0.01
    assert set_model._calibrate(np.arange(10.0), np.ones(10)) == (1, 0)


def test_a_calibration_worked_by_hand():
    # A score of two values with 1 in 4 and 3 in 4 malignant: log-odds of -log 3 and log 3.
    logits, targets = np.repeat([0.0, 10], 4000), np.tile([1, 0, 0, 0] * 1000 + [1, 1, 1, 0] * 1000, 1)
    slope, intercept = set_model._calibrate(logits, targets)
    assert [slope, intercept] == pytest.approx([np.log(3) / 5, -np.log(3)], abs=1e-2)


def test_corrections_are_believed_as_far_as_they_hold_on_unseen_patients():
    targets = np.repeat([0, 1], 50)
    signs = 2.0 * targets - 1
    assert set_model._share(np.zeros(100), signs, targets) > 0.99
    assert set_model._share(np.zeros(100), -signs, targets) < 0.01
    # Three in four right: log 3 is the best correction, a quarter of what is given.
    signs[::4] *= -1
    assert set_model._share(np.zeros(100), 4 * np.log(3) * signs, targets) == pytest.approx(0.25, abs=0.02)


def test_unknown_inputs_count_as_the_mean_and_are_told_apart(quick, few):
    inputs, logits, patients, _ = few
    assert quick.missing.tolist() == [False, True, False]
    assert quick.network["dim"] == 3 + 1 + 1
    unknown = inputs.copy()
    unknown[0] = np.nan
    features, _ = set_model._encode(quick, unknown, logits)
    assert features[0, :4].tolist() == [0, 0, 0, 1]
    assert features[:4, 3].tolist() == [1, 0, 0, 1]
    assert np.isfinite(set_model.apply(quick, np.full_like(inputs, np.nan), logits, patients)).all()


def test_a_lone_patient_of_1000_lesions_without_inputs_and_of_one_class_is_no_error():
    lesions = np.zeros((1000, 0)), np.linspace(-5, 5, 1000), ["a"] * 1000
    model = set_model.fit(*lesions, np.zeros(1000), options=dataclasses.replace(QUICK, members=1))
    assert (model.slope, model.intercept) == (1, 0)
    given = set_model.apply(model, *lesions)
    assert np.isfinite(given).all()
    assert not np.array_equal(given, lesions[1])


def test_columns_without_any_value_or_with_one_alone_are_no_error():
    inputs = np.array([[np.nan, 5, 1], [np.nan, 5, 3]])
    mean, scale, missing = set_model._standards(inputs)
    assert (mean.tolist(), scale.tolist(), missing.tolist()) == ([0, 5, 2], [1, 1, 1], [True, False, False])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": np.zeros(3)}, r"inputs \[n, d\], logits \[n\] and patients \[n\] with n > 0, got shapes \(3,\)"),
        ({"inputs": np.zeros((0, 2)), "logits": [], "patients": []}, r"with n > 0, got shapes \(0, 2\)"),
        ({"logits": [0, 1]}, r"got shapes \(3, 2\), \(2,\) and \(3,\)"),
        ({"patients": [0, 1]}, r"got shapes \(3, 2\), \(3,\) and \(2,\)"),
        (
            {"inputs": np.full((3, 2), np.inf)},
            "expected inputs that are finite or NaN .unknown., and finite logits, got 6 infinite inputs",
        ),
        (
            {"logits": [0, np.nan, 0]},
            "and finite logits, got 0 infinite inputs and 1 invalid logits; clip probabilities",
        ),
        ({"targets": [0, 1, 2]}, "a target of 0 or 1 for each of 3 lesions"),
        ({"targets": [0, 1]}, "a target of 0 or 1 for each of 3 lesions"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    given = {"inputs": np.zeros((3, 2)), "logits": [0, 1, 2], "patients": [0, 0, 1], "targets": [0, 0, 1]}
    with pytest.raises(ValueError, match=message):
        set_model.fit(**given | change, options=QUICK)


def test_other_inputs_than_those_of_the_training_are_refused(quick):
    with pytest.raises(ValueError, match="expected 3 inputs, as the model was trained on, got 2"):
        set_model.apply(quick, np.zeros((1, 2)), [0], ["a"])
