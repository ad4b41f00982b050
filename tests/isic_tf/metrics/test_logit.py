import math

import numpy as np
import pytest

from isic_tf.metrics import logit


def test_log_odds_worked_by_hand():
    # ln(p / (1 - p)): ln 1, ln 3, ln 1/4 and ln 9.
    assert logit.logits([0.5, 0.75, 0.2, 0.9]) == pytest.approx(
        [0.0, math.log(3), -math.log(4), math.log(9)], abs=1e-12
    )


def test_scores_are_clipped_at_both_ends():
    low, high = logit.logits([0.0, 1.0])
    assert low == pytest.approx(math.log(1e-15), abs=1e-9)
    # (1 - 2**-24) / 2**-24 = 2**24 - 1.
    assert high == pytest.approx(math.log(2**24 - 1), abs=1e-9)
    assert logit.logits([1e-300, 1 - 1e-12]).tolist() == [low, high]


def test_the_largest_float32_below_1_is_not_clipped_further():
    below = np.nextafter(np.float32(1), np.float32(0))
    assert logit.logits(below) == logit.logits(1.0)
    assert logit.logits(np.float32(1 - 2.0**-23)) < logit.logits(1.0)


def test_the_shape_is_kept_and_the_result_is_float64():
    found = logit.logits(np.full((2, 3), 0.25, np.float32))
    assert found.shape == (2, 3)
    assert found.dtype == np.float64
    assert found == pytest.approx(np.full((2, 3), -math.log(3)), abs=1e-12)
    assert logit.logits(0.5).shape == ()
