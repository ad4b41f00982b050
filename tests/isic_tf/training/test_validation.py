import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config, tiny, tiny_with_norm

from isic_tf.inference import predictor
from isic_tf.training import validation


def make_predict(classifier):
    return predictor.make_predictor([classifier], tf.distribute.get_strategy())


def test_predictions_are_joined_by_name_and_a_pause_follows_each_batch(index):
    held_out = index[index["fold"] == 0]
    batches = [(held_out["image_name"].tolist()[::-1][:2], [0.25, 0.5]), (held_out["image_name"].tolist()[:-2], None)]
    batches[1] = (batches[1][0], np.linspace(0.6, 0.9, len(held_out) - 2))
    pauses = []
    table = validation.validate(lambda dataset: iter(batches), held_out, make_config(), pause=lambda: pauses.append(1))
    assert table["prediction"].tolist() == [*batches[1][1], 0.5, 0.25]
    assert table.drop(columns="prediction").equals(held_out)
    assert len(pauses) == 2


def test_nothing_held_out_is_an_empty_table(index):
    table = validation.validate(None, index[:0], make_config())
    assert table.empty
    assert "prediction" in table


def test_a_network_that_predicts_no_numbers_is_refused(index):
    classifier = tiny(None, 32, None)
    classifier.set_weights([weight * np.nan for weight in classifier.get_weights()])
    predict = predictor.make_predictor([classifier], tf.distribute.get_strategy())
    with pytest.raises(ValueError, match="validation predictions contain NaN .* train again with a lower"):
        validation.validate(predict, index[index["fold"] == 0], make_config())


def test_records_missing_from_a_shard_are_named(index):
    held_out = index[index["fold"] == 0].copy()
    last = held_out["shard"].map(held_out["shard"].value_counts())[held_out.index[-1]]
    extra = held_out.iloc[-1:].assign(image_name="ISIC_gone", position=last)
    predict = predictor.make_predictor([tiny(None, 32, None)], tf.distribute.get_strategy())
    with pytest.raises(
        ValueError, match=r"expected positions below \d+, the number of records of .*, got \d+ in the index; index"
    ):
        validation.validate(predict, pd.concat([held_out, extra]), make_config())


@pytest.mark.parametrize(
    ("aucs", "patience", "expected"),
    [([], 2, False), ([0.5, 0.6], 1, False), ([0.6, 0.5], 1, True), ([0.6, 0.5, 0.6], 2, True), ([0.6, 0.5], 0, False)],
)
def test_a_fold_is_past_its_best_after_so_many_epochs(aucs, patience, expected):
    assert validation.is_past_best([{"auc": auc} for auc in aucs], patience) == expected


def test_batch_statistics_of_replicas_are_averaged(mirrored):
    with mirrored.scope():
        network = tiny_with_norm("", 32, "")
    mean = next(weight for weight in network.non_trainable_variables if "moving_mean" in weight.name)

    def drift():
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        mean.assign(tf.fill(mean.shape, 1.0 + 2.0 * tf.cast(replica, tf.float32)))

    mirrored.run(drift)
    assert [copy.numpy()[0] for copy in mirrored.experimental_local_results(mean)] == [1, 3]
    validation.average_batch_statistics(network)
    assert [copy.numpy()[0] for copy in mirrored.experimental_local_results(mean)] == [2, 2]
