import numpy as np
import pytest

from isic_tf.novelty import detector
from tfrecord_tools import errors

RNG = np.random.default_rng(0)
# Two directions of large variance in eight features, as those of networks are.
MIX = RNG.normal(size=(2, 8))


def draw(count, seed):
    rng = np.random.default_rng(seed)
    return 5 + rng.normal(size=(count, 2)) @ MIX + 0.1 * rng.normal(size=(count, 8))


TRAINING, HELD_OUT = draw(400, 1), draw(2000, 2)
FITTED = detector.fit_detector(TRAINING, HELD_OUT)


def test_five_percent_of_images_like_those_held_out_are_flagged():
    assert (detector.measure(FITTED, HELD_OUT) > 1).mean() == pytest.approx(0.05, abs=0.001)
    assert (detector.measure(FITTED, draw(20_000, 3)) > 1).mean() == pytest.approx(0.05, abs=0.01)
    loose = detector.fit_detector(TRAINING, HELD_OUT, rate=0.2)
    assert (detector.measure(loose, HELD_OUT) > 1).mean() == pytest.approx(0.2, abs=0.001)


def test_few_held_out_images_flag_five_percent_of_other_images_too():
    # On average over sets of 50; the usual quantile would flag 8 %.
    rates = []
    for seed in range(200):
        fitted = detector.fit_detector(TRAINING[::4], draw(50, 10 + seed))
        rates.append((detector.measure(fitted, HELD_OUT) > 1).mean())
    assert 0.04 < np.mean(rates) < 0.07


def test_each_distance_finds_what_the_other_does_not():
    # Off the plane of the training images, not far from any of them in angle.
    normal = np.linalg.svd(MIX)[2][-1]
    off = TRAINING[:50] + 1.5 * normal
    gaussian = detector._gaussian_distance(FITTED, off) / FITTED.limits[0]
    assert (gaussian > 1).all()
    # In a gap within the plane: usual for the Gaussian, far from every training image.
    ring = np.concatenate([draw(400, 4) + 9 * MIX[0], draw(400, 5) - 9 * MIX[0]])
    fitted = detector.fit_detector(ring[::2], ring[1::2])
    middle = draw(50, 6)
    assert (detector._gaussian_distance(fitted, middle) < fitted.limits[0]).mean() > 0.9
    assert (detector.measure(fitted, middle) > 1).mean() > 0.9


def test_the_distances_are_those_worked_out_by_hand():
    fitted = detector.Detector(
        mean=np.array([1.0, 0.0], np.float32),
        scale=np.array([2.0, 1.0], np.float32),
        components=np.array([[1.0, 0.0]], np.float32),
        variances=np.array([4.0], np.float32),
        residual=np.array([0.5], np.float32),
        references=np.array([[1, 0], [0, 1]] * 5, np.float16),
        limits=np.array([2.0, 0.5, 1.5], np.float32),
    )
    # ((9 - 1) / 2)^2 / 4 + 1^2 / 0.5 = 6, three times its limit.
    assert detector._gaussian_distance(fitted, np.array([[9.0, 1.0]])) == pytest.approx([6.0])
    # Both kinds of reference five times: the fifth nearest is the nearer kind.
    along = np.array([[3.0, 0.0], [3.0, 3.0]])
    assert detector._neighbor_distance(fitted, along) == pytest.approx([0.0, np.sqrt(2 - np.sqrt(2))], abs=1e-6)
    assert detector.measure(fitted, np.array([[9.0, 1.0]])) == pytest.approx([6.0 / 2 / 1.5])


def test_the_gaussian_sees_early_features_and_the_neighbors_late_ones():
    fitted = detector.fit_detector(TRAINING, HELD_OUT, early=6, late=3)
    assert [len(array) for array in (fitted.mean, fitted.scale, fitted.components[0])] == [6, 6, 6]
    assert fitted.references.shape == (400, 3)
    late = HELD_OUT[:50] * ([1] * 6 + [9, -9])
    of_early = detector.fit_detector(TRAINING[:, :6], HELD_OUT[:, :6])
    expected = detector._gaussian_distance(of_early, HELD_OUT[:50, :6])
    assert detector._gaussian_distance(fitted, late) == pytest.approx(expected)
    assert (detector.measure(fitted, late) > 1).all()
    changed = HELD_OUT[:50] * ([9] * 5 + [1] * 3)
    assert detector._neighbor_distance(fitted, changed) == pytest.approx(
        detector._neighbor_distance(detector.fit_detector(TRAINING[:, 5:], HELD_OUT[:, 5:]), HELD_OUT[:50, 5:])
    )


def test_a_feature_that_never_varied_does_not_decide_alone():
    dead = np.zeros((400, 1))
    fitted = detector.fit_detector(np.hstack([TRAINING, dead]), np.hstack([HELD_OUT, np.zeros((2000, 1))]))
    shown = np.hstack([HELD_OUT, np.full((2000, 1), 1e-4)])
    assert (detector.measure(fitted, shown) > 1).mean() < 0.06


def test_networks_count_alike_and_unknown_ones_not_at_all():
    assert detector.join(np.array([[4.0, 0.25], [9.0, np.nan]])) == pytest.approx([1.0, 9.0])
    assert np.isnan(detector.join(np.array([[np.nan, np.nan]]))).all()
    features = HELD_OUT[:3].copy()
    features[1, 2] = np.nan
    found = detector.measure(FITTED, features)
    assert np.isnan(found).tolist() == [False, True, False]
    assert detector.measure(FITTED, HELD_OUT[:0]).shape == (0,)


def test_many_images_are_thinned_out():
    rng = np.random.default_rng(0)
    fitted = detector.fit_detector(rng.normal(size=(3000, 4)), rng.normal(size=(100, 4)))
    assert len(fitted.references) == detector.MOST_REFERENCES
    assert np.linalg.norm(fitted.references.astype(float), axis=1) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize(
    ("training", "held_out", "message"),
    [
        (TRAINING[:49], HELD_OUT, "expected 50 training images or more, got 49"),
        (TRAINING, HELD_OUT[:10], "expected 50 held-out images or more, got 10"),
        (TRAINING, np.where(HELD_OUT > 9, np.inf, HELD_OUT), "features of held-out images are not finite"),
    ],
)
def test_too_little_to_fit_is_refused(training, held_out, message):
    with pytest.raises(errors.IsicError, match=message):
        detector.fit_detector(training, held_out)
