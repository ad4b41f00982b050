import json

import pytest
import tensorflow as tf

from isic_tf.distribution import workers
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("cluster", "count"),
    [({}, 0), ({"worker": ["a:1", "b:1"]}, 2), ({"chief": ["a:1"], "worker": ["b:1", "c:1"], "ps": ["d:1"]}, 3)],
)
def test_workers_are_counted_with_the_chief(monkeypatch, cluster, count):
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster}))
    assert workers.count_workers() == count


def test_the_only_worker_is_the_chief_and_its_values_are_the_mean():
    strategy = tf.distribute.get_strategy()
    assert workers.is_single_worker(strategy)
    assert workers.is_chief(strategy)
    assert workers.mean_over_workers(strategy, 3) == 3


def test_a_failed_worker_is_reported_with_the_remedy():
    with (
        pytest.raises(errors.IsicError, match="another worker failed; rerun the same command on every worker"),
        workers.lost_worker_errors(),
    ):
        raise tf.errors.UnavailableError(None, None, "Collective ops is aborted by: ...")
    with pytest.raises(tf.errors.UnavailableError, match="no route"), workers.lost_worker_errors():
        raise tf.errors.UnavailableError(None, None, "no route to the bucket")


def test_a_broken_cluster_description_is_named(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{cluster")
    with pytest.raises(ValueError, match="expected JSON in the environment variable TF_CONFIG"):
        workers.count_workers()
