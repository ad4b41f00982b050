import pytest
import tensorflow as tf

from isic_tf.models import pooling_layers


def test_generalised_mean_pooling_worked_by_hand():
    pool = pooling_layers.GeneralizedMeanPooling2D()
    features = tf.constant([[[[1.0], [2.0]], [[3.0], [-1.0]]]])
    # (1 + 8 + 27 + 0) / 4 = 9, whose cube root it is; negative features count as 0.
    assert float(pool(features)[0, 0]) == pytest.approx(9 ** (1 / 3), abs=1e-5)
    pool.power.assign(1.0)
    assert float(pool(features)[0, 0]) == pytest.approx(1.5, abs=1e-5)
    pool.power.assign(30.0)
    assert float(pool(features)[0, 0]) == pytest.approx(3 / 4 ** (1 / 30), abs=1e-3)
