import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config, tiny_trunk

from isic_tf.data import image_cache, mixture
from isic_tf.models import backbones
from isic_tf.training import train_state
from isic_tf.training.linear_probe import probe_times
from tfrecord_tools import errors


def test_features_are_counted_once_where_folds_share_them():
    plan = mixture.Plan(pd.DataFrame({"group": [0] * 300}), np.array([300]), pd.DataFrame({"group": [0] * 84}), "")
    # 8 x 300 + 84, and the held-out images once more.
    assert probe_times.count_features(plan, 1, 384, is_shared=True) == 2568
    assert probe_times.count_features(plan, 5, 384, is_shared=True) == 8 * 384 + 5 * 84
    assert probe_times.count_features(plan, 5, 384, is_shared=False) == 5 * 2568


def test_times_are_measured_and_features_that_do_not_fit_are_refused(record_set, monkeypatch):
    monkeypatch.setattr(backbones, "build_backbone", tiny_trunk)
    plan = mixture.plan_fold(mixture.read_sets(str(record_set)), 0)
    config = make_config(freeze_epochs="all")
    strategy = tf.distribute.get_strategy()
    state = train_state.make_state(strategy, config, steps=4)
    times = probe_times.measure_times(plan, strategy, state, config)
    assert min(times) > 0
    assert int(state.step) == 2
    monkeypatch.setattr(image_cache, "free_memory", lambda: 1000)
    with pytest.raises(errors.ConfigError, match="--freeze_epochs=all needs"):
        probe_times.measure_times(plan, strategy, state, config)
