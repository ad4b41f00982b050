import numpy as np
import pytest
from scipy import special
from sklearn.metrics import roc_auc_score
from threadpoolctl import threadpool_limits

from isic_tf.patient_context import gradient_boosting

pytestmark = pytest.mark.usefixtures("few_trees")


@pytest.fixture(scope="module")
def fitted(few_trees):
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(1500, 4))
    inputs[:, 3] = 7
    # A ring, which no line can part.
    targets = (rng.random(1500) < special.expit(3 * (np.linalg.norm(inputs[:, :2], axis=1) - 1.5))).astype(int)
    return inputs, targets, gradient_boosting.fit(inputs[:1000], targets[:1000])


def test_it_learns_what_lines_cannot(fitted):
    inputs, targets, model = fitted
    assert roc_auc_score(targets[1000:], gradient_boosting.apply(model, inputs[1000:])) > 0.8


def test_the_arrays_say_what_scikit_learn_does(fitted):
    inputs, targets, model = fitted
    with threadpool_limits(1):
        boosters, _ = gradient_boosting.fit_boosters(inputs[:1000], targets[:1000], seed=0)
    trees = np.mean([booster.decision_function(inputs) for booster in boosters], axis=0)
    linear = 2 * gradient_boosting.apply(model, inputs) - trees
    # What is left is a line.
    design = np.column_stack([inputs[:, :3], np.ones(1500)])
    rest = linear - design @ np.linalg.lstsq(design, linear, rcond=None)[0]
    assert np.abs(rest).max() < 1e-9


def test_trees_are_followed_node_by_node(fitted):
    inputs, _, model = fitted
    expected = []
    for row in inputs[:40]:
        logit = row @ model.coefficients + model.intercept
        for node in model.roots:
            while model.left[node] != node:
                goes_left = row[model.column[node]] <= model.threshold[node]
                node = model.left[node] if goes_left else model.right[node]
            logit += model.value[node]
        expected.append(logit)
    np.testing.assert_allclose(gradient_boosting.apply(model, inputs[:40]), expected, rtol=1e-12)


def test_each_booster_sees_all_malignant_lesions_and_a_part_of_many_benign_ones(monkeypatch):
    seen = []

    class Recorder:
        def __init__(self, **options):
            self.least = options["min_samples_leaf"]

        def fit(self, inputs, targets):
            seen.append((inputs[:, 0].astype(int).tolist(), targets.sum(), self.least))
            return self

    monkeypatch.setattr("sklearn.ensemble.HistGradientBoostingClassifier", Recorder)
    rows = np.arange(62.0)[:, None]
    # 60 benign ones to two: three parts of 20, one each.
    _, excess = gradient_boosting.fit_boosters(rows, np.repeat([1, 0], [2, 60]), seed=0)
    assert excess == pytest.approx(np.log(3))
    assert [(len(own), own[:2], malignant, least) for own, malignant, least in seen] == [(22, [0, 1], 2, 20)] * 3
    assert sorted(row for own, *_ in seen for row in own[2:]) == list(range(2, 62))
    # 38 to two are too few to part.
    seen.clear()
    assert gradient_boosting.fit_boosters(rows[:40], np.repeat([1, 0], [2, 38]), seed=0)[1] == 0
    assert [(len(own), least) for own, _, least in seen] == [(40, 60)] * 3


def test_parts_of_the_benign_lesions_keep_the_prevalence():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(6000, 2))
    targets = (rng.random(6000) < special.expit(inputs[:, 0] - 5)).astype(int)
    assert targets.mean() < 1 / 31
    predicted = special.expit(gradient_boosting.apply(gradient_boosting.fit(inputs, targets), inputs))
    assert predicted.mean() == pytest.approx(targets.mean(), rel=0.1)


def test_saved_and_read_again_it_gives_the_same(fitted, tmp_path):
    inputs, _, model = fitted
    path = str(tmp_path / "boost.npz")
    gradient_boosting.save(model, path)
    np.testing.assert_array_equal(
        gradient_boosting.apply(gradient_boosting.load(path), inputs), gradient_boosting.apply(model, inputs)
    )
    assert gradient_boosting.apply(model, inputs[:0]).shape == (0,)


def test_the_same_seed_gives_the_same_and_another_does_not(fitted):
    inputs, targets, model = fitted
    again, other = (gradient_boosting.fit(inputs[:1000], targets[:1000], seed) for seed in (0, 9))
    np.testing.assert_array_equal(gradient_boosting.apply(again, inputs), gradient_boosting.apply(model, inputs))
    assert (gradient_boosting.apply(other, inputs) != gradient_boosting.apply(model, inputs)).any()


@pytest.mark.parametrize(
    "damage",
    [
        lambda model: {"left": np.zeros_like(model.left)},
        lambda model: {"right": model.right + 10**6},
        lambda model: {"column": model.column + 99},
        lambda model: {"value": np.full_like(model.value, np.inf)},
        lambda model: {"roots": -model.roots - 1},
        lambda model: {"threshold": model.threshold[1:]},
        lambda model: {"left": model.left.astype(float)},
        lambda model: {"value": np.array([{}], object)},
    ],
)
def test_a_damaged_model_is_refused(fitted, tmp_path, damage):
    path = tmp_path / "boost.npz"
    np.savez(path, **(fitted[2]._asdict() | damage(fitted[2])))
    with pytest.raises(ValueError, match="boost.npz is not a valid boosted model"):
        gradient_boosting.load(str(path))


def test_no_model_and_half_a_model_are_refused(fitted, tmp_path, monkeypatch):
    path = tmp_path / "boost.npz"
    with pytest.raises(
        ValueError, match="expected a boosted model at .*, but the file does not exist; run isic_tf.context"
    ):
        gradient_boosting.load(str(path))
    gradient_boosting.save(fitted[2], str(path))
    monkeypatch.setattr(gradient_boosting, "_MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="bytes in 8 arrays, expected at most 1000"):
        gradient_boosting.load(str(path))
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(ValueError, match="is not a valid boosted model"):
        gradient_boosting.load(str(path))


def test_trees_kept_otherwise_are_refused(fitted, monkeypatch):
    inputs, targets, _ = fitted
    whole = gradient_boosting._join_trees
    monkeypatch.setattr(
        gradient_boosting,
        "_join_trees",
        lambda boosters: (*whole(boosters)[:4], whole(boosters)[4] * 1.1, whole(boosters)[5]),
    )
    with pytest.raises(ValueError, match="expected scikit-learn to store trees as versions 1.4 to 1.8 do"):
        gradient_boosting.fit(inputs[:300], targets[:300])
