import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from isic_tf.metrics import logit, roc
from isic_tf.postprocessing import ensemble_config, ensembling


def combine(method, scores, weights=None, intercept=0.0):
    return ensembling.combine(scores, ensembling.Blend(method, weights, intercept)).tolist()


@pytest.mark.parametrize(
    ("method", "scores", "blended"),
    [
        ("mean", [[0.2, 0.4], [0.0, 1.0]], [0.3, 0.5]),
        # Ranks 1, 2, 3 and 3, 1.5, 1.5; less a half, by 3: 1/6, 3/6, 5/6 and 5/6, 2/6, 2/6.
        ("rank_mean", [[0.1, 0.9], [0.2, 0.5], [0.3, 0.5]], [1 / 2, 5 / 12, 7 / 12]),
        # Odds of 1/4 and 4: none; of 1 and 9: 3, their geometric mean.
        ("logit_mean", [[0.2, 0.8], [0.5, 0.9]], [0.5, 0.75]),
        ("geometric", [[0.2, 0.8], [0.5, 0.5]], [0.4, 0.5]),
    ],
)
def test_formulas_worked_by_hand(method, scores, blended):
    assert combine(method, scores) == pytest.approx(blended, abs=1e-12)


def test_weighted_formulas_worked_by_hand():
    assert combine("weighted", [[0.2, 0.6]], np.array([0.25, 0.75])) == pytest.approx([0.5])
    # 0 + ln(9) / 2 - ln(3) is 0.
    assert combine("stack", [[0.5, 0.9]], np.array([2.0, 0.5]), -np.log(3)) == pytest.approx([0.5])


@pytest.mark.parametrize("method", [*ensemble_config.UNFITTED, *ensemble_config.FITTED, "best"])
def test_scores_of_0_and_1_stay_numbers_from_0_to_1(method):
    scores = np.array([[0, 0], [1, 1], [0, 1], [1, 0], [0, 0.5], [1, 0.5], [0.3, 0.3], [1, 1]])
    blend = ensembling.fit(method, scores, [0, 1, 0, 1, 0, 1, 0, 1])
    blended = ensembling.combine(scores, blend)
    assert np.isfinite(blended).all()
    assert blended.min() >= 0
    assert blended.max() <= 1
    assert blended[0] < blended[1]


def test_a_float32_of_1_has_the_logit_of_the_number_it_was_rounded_from():
    # The last number below 1: ln((1 - 2**-24) / 2**-24) is 24 ln(2).
    low, high = logit.logits(np.float32([0, 1]))
    assert high == pytest.approx(24 * np.log(2), abs=1e-6)
    assert low == pytest.approx(np.log(1e-15), abs=1e-6)
    # Its neighbour in float32 is 1 - 2**-24 and stays that.
    assert logit.logits(np.nextafter(np.float32(1), np.float32(0))) == high
    assert logit.logits(1 - 2.0**-20) == pytest.approx(20 * np.log(2), abs=1e-5)


def test_a_score_of_0_does_not_make_the_other_models_irrelevant():
    for method in ("logit_mean", "geometric"):
        low, high = combine(method, [[0, 0.2], [0, 0.9]])
        assert 0 < low < high


def test_a_blend_of_ones_is_not_above_one():
    assert combine("weighted", [[1.0, 1.0, 1.0]], ensembling.weigh([1, 1, 1], 3).weights) == [1.0]
    assert combine("weighted", [[1.0] * 10], ensembling.weigh([0.1] * 10, 10).weights)[0] <= 1.0


@pytest.mark.parametrize("method", [*ensemble_config.FITTED, "best"])
def test_a_formula_without_its_weights_is_refused(method):
    with pytest.raises(ValueError, match=f"the method {method} needs weights; get them from ensembling.fit or weigh"):
        combine(method, [[0.25, 0.75]])


def test_given_weights_are_scaled_to_sum_to_one():
    assert ensembling.weigh(["1", "3"], 2).weights.tolist() == [0.25, 0.75]
    assert ensembling.weigh([0, 2.0], 2).weights.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (["1"], "expected a weight for each of the 2 files in --weights, got 1"),
        (["1", "a"], "expected numbers in --weights: could not convert"),
        (["1", "-1"], "expected --weights of at least 0, and one of them above 0, got 1, -1"),
        (["0", "0"], "expected --weights of at least 0, and one of them above 0, got 0, 0"),
        (["1", "nan"], "expected --weights of at least 0, and one of them above 0, got 1, nan"),
        (["1", "inf"], "expected --weights of at least 0, and one of them above 0, got 1, inf"),
    ],
)
def test_invalid_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        ensembling.weigh(weights, 2)


def test_greedy_selection_worked_by_hand():
    # Malignant, malignant, benign, benign. Either of the first two files wins 3 of 4 pairs, their sum all of them: 1.1
    # against 0.6. The third wins none.
    scores = [[0.9, 0.2, 0.1], [0.2, 0.9, 0.1], [0.5, 0.1, 0.8], [0.1, 0.5, 0.8]]
    blend = ensembling.fit("greedy", scores, [1, 1, 0, 0])
    assert blend.weights.tolist() == [0.5, 0.5, 0.0]
    assert ensembling.fit("best", scores, [1, 1, 0, 0]).weights.tolist() == [1.0, 0.0, 0.0]


def make_scores(num_images, seed=0, malignant=0.3, signals=(1.0, 0.7, 0.5, 0.0)):
    """Scores of models with independent errors; the last only guesses."""
    rng = np.random.default_rng(seed)
    targets = (rng.random(num_images) < malignant).astype(int)
    logits = targets[:, None] * np.array(signals) + rng.normal(0, 1, (num_images, len(signals)))
    return 1 / (1 + np.exp(-logits)), targets


def test_greedy_selection_equals_one_written_out():
    scores, targets = make_scores(300)
    chosen, best, kept = [], 0, None
    for _ in range(50):
        aucs = [roc_auc_score(targets, scores[:, [*chosen, model]].sum(axis=1)) for model in range(4)]
        chosen.append(int(np.argmax(aucs)))
        if max(aucs) > best + 1e-12:
            best, kept = max(aucs), list(chosen)
    weights = np.bincount(kept, minlength=4) / len(kept)
    assert ensembling.fit("greedy", scores, targets).weights == pytest.approx(weights, abs=1e-12)


def test_fitted_weights_reach_the_auc_of_a_fine_search():
    scores, targets = make_scores(400, signals=(1.0, 0.6))
    grid = [roc_auc_score(targets, scores @ [weight, 1 - weight]) for weight in np.linspace(0, 1, 101)]
    blend = ensembling.fit("weighted", scores, targets)
    assert blend.weights.sum() == pytest.approx(1)
    assert roc.roc_auc(targets, ensembling.combine(scores, blend)) > max(grid) - 1e-3


def test_fitted_weights_are_never_worse_than_the_mean_or_the_best_file_where_they_were_fitted():
    for seed in range(5):
        scores, targets = make_scores(80, seed)
        aucs = {}
        for method in ("weighted", "mean", "best"):
            aucs[method] = roc.roc_auc(targets, ensembling.combine(scores, ensembling.fit(method, scores, targets)))
        assert aucs["weighted"] >= max(aucs["mean"], aucs["best"]) - 1e-12


def test_a_stack_finds_the_coefficients_that_the_targets_were_sampled_with():
    rng = np.random.default_rng(0)
    # The second model's logits are a hundredth as far apart.
    logits = rng.normal(0, 1, (20000, 2)) * [1, 0.01]
    targets = rng.random(20000) < 1 / (1 + np.exp(-(logits @ [1.5, -50] - 1)))
    blend = ensembling.fit("stack", 1 / (1 + np.exp(-logits)), targets.astype(int))
    assert blend.weights == pytest.approx([1.5, -50], rel=0.1)
    assert blend.intercept == pytest.approx(-1, abs=0.1)


@pytest.mark.parametrize("method", [*ensemble_config.FITTED, "best"])
def test_a_constant_file_has_no_influence(method):
    scores, targets = make_scores(300, signals=(1.0, 0.0))
    scores[:, 1] = 0.5
    blend = ensembling.fit(method, scores, targets)
    alone = roc.roc_auc(targets, scores[:, 0])
    assert roc.roc_auc(targets, ensembling.combine(scores, blend)) == pytest.approx(alone, abs=1e-12)


@pytest.mark.parametrize("method", [*ensemble_config.FITTED, "best"])
def test_files_that_are_all_constant_give_a_constant(method):
    scores = np.full((10, 2), 0.25)
    blended = ensembling.combine(scores, ensembling.fit(method, scores, np.arange(10) % 2))
    assert np.ptp(blended) == 0


def test_a_method_without_weights_has_nothing_to_fit():
    assert ensembling.fit("logit_mean", [[0.1, 0.2]], [1]) == ensembling.Blend("logit_mean")
