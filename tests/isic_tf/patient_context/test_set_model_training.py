import concurrent.futures

import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import set_transformer
from isic_tf.patient_context import length_bucketing, set_model_training


@pytest.fixture(scope="module")
def lesions():
    """Tables and sets of 9 patients with 1 to 8 lesions."""
    rng = np.random.default_rng(0)
    patients = np.repeat(np.arange(9), [1, 8, 3, 5, 2, 8, 4, 4, 7])
    features = rng.normal(size=(len(patients), 3)).astype("float32")
    targets = (rng.random((len(patients), 1)) < 0.3).astype("float32")
    tables = features, rng.normal(size=(len(patients), 1)).astype("float32"), targets
    return tables, length_bucketing.group(patients, features)


def three_steps(strategy, lesions):
    """Gives the losses, and the changes of the weights, of three steps of SGD on a batch of 9 patients."""
    tables, sets = lesions
    tf.keras.utils.set_random_seed(0)
    with strategy.scope():
        network = set_transformer.build_set_transformer(3, units=8, heads=2, blocks=1, dropout=0.0)
        optimizer = tf.keras.optimizers.SGD(0.3)
        optimizer.build(network.trainable_variables)
    before, step = network.get_weights(), set_model_training.make_train_step(strategy, network, optimizer)
    # Nine rows: on two replicas a set of padding is added, and one replica has more lesions than the other.
    index = length_bucketing.batches(sets)[0][:9]
    losses = []
    for _ in range(3):
        *values, mask = length_bucketing.gather(index, tables, strategy.num_replicas_in_sync)
        losses.append(float(step(length_bucketing.share(strategy, (*values, mask)), tf.constant(mask.sum()))))
    return losses, [new - old for new, old in zip(network.get_weights(), before, strict=True)]


@pytest.fixture(scope="module")
def of_one(lesions):
    return three_steps(tf.distribute.get_strategy(), lesions)


def test_two_replicas_train_as_one_does(lesions, of_one, mirrored):
    losses, changes = of_one
    losses_of_two, changes_of_two = three_steps(mirrored, lesions)
    assert losses_of_two == pytest.approx(losses, abs=1e-5)
    assert losses[2] < losses[0]
    for one, two in zip(changes, changes_of_two, strict=True):
        assert one == pytest.approx(two, abs=1e-5)
        assert np.abs(one).max() > 1e-6


def test_the_loss_is_the_mean_over_lesions_worked_with_numpy(lesions, of_one):
    losses, _ = of_one
    (_, logits, targets), _ = lesions
    probabilities = 1 / (1 + np.exp(-logits))
    expected = -np.where(targets, np.log(probabilities), np.log(1 - probabilities)).mean()
    assert losses[0] == pytest.approx(expected, abs=1e-6)
    assert set_model_training.cross_entropy(logits[:, 0], targets[:, 0]) == pytest.approx(expected, abs=1e-6)


def test_gradients_compile_under_xla(lesions):
    tables, sets = lesions
    tf.keras.utils.set_random_seed(0)
    network = set_transformer.build_set_transformer(3, units=8, heads=2, blocks=1, dropout=0.0)
    network.get_layer("dense_correction").kernel.assign(tf.ones([8, 1]))
    features, logits, _, mask = length_bucketing.gather(length_bucketing.batches(sets)[0][:9], tables)

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(network([features, mask, logits]) ** 2)
        return tape.gradient(loss, network.trainable_variables)

    for plain, compiled in zip(gradients(), tf.function(gradients, jit_compile=True)(), strict=True):
        assert compiled.numpy() == pytest.approx(plain.numpy(), abs=1e-5)


def test_patients_are_dealt_so_that_each_part_has_its_share_of_malignant_ones():
    sets = [np.array([2 * number, 2 * number + 1]) for number in range(20)]
    targets = np.zeros((40, 1))
    targets[[0, 6, 14, 31]] = 1
    parts = set_model_training._deal(sets, targets, 4, np.random.default_rng(0))
    for others, own in parts:
        assert (len(others), len(own)) == (15, 5)
        assert sum(targets[rows].max() for rows in own) == 1
    assert sorted(rows[0] for _, own in parts for rows in own) == list(range(0, 40, 2))


@pytest.mark.parametrize(("loss", "weight"), [(np.nan, 0.0), (0.5, np.inf), (0.5, np.nan)])
def test_a_training_that_diverges_is_refused(lesions, loss, weight):
    tables, sets = lesions
    options = {"dim": 3, "units": 4, "heads": 1, "blocks": 0}
    network = set_transformer.build_set_transformer(**options)
    network.get_layer("dense_correction").bias.assign([weight])
    judge = set_model_training.build_corrector(**options)
    with pytest.raises(ValueError, match="the set network diverged: .* lower the learning rate"):
        set_model_training._choose([0.5, loss], network, judge, tables, sets)


def test_the_weights_are_kept_that_were_best_on_held_out_patients(lesions):
    tables, sets = lesions
    options = {"dim": 3, "units": 4, "heads": 1, "blocks": 0}
    network, biases = set_transformer.build_set_transformer(**options), [3.0, -0.5, 5.0]

    def passes():
        for bias in biases:
            network.get_layer("dense_correction").bias.assign([bias])
            yield 0.5

    # Lesions that have others beside them, and are one in three malignant: neither likely nor unlikely by far.
    judge = set_model_training.build_corrector(**options)
    weights, corrections = set_model_training._choose(passes(), network, judge, tables, sets)
    assert weights[-1] == [-0.5]
    assert np.unique(corrections).tolist() == [-0.5, 0]
    # With nobody to be judged on, the last.
    assert set_model_training._choose(passes(), network, judge, tables, [])[0][-1] == [5.0]


def test_a_network_that_several_threads_share_answers_each_by_its_own_weights(lesions):
    tables, sets = lesions
    network = set_transformer.build_set_transformer(3, units=8, heads=2, blocks=1)
    correct = set_model_training.make_corrector(network)
    indices = length_bucketing.batches(sets)
    rng = np.random.default_rng(1)
    weights = [[rng.normal(0, 0.3, part.shape) for part in network.get_weights()] for _ in range(4)]
    expected = [correct(own, tables, indices) for own in weights]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda number: correct(weights[number % 4], tables, indices), range(40)))
    for number, own in enumerate(found):
        assert own == pytest.approx(expected[number % 4], abs=1e-6)
    assert np.abs(expected[0] - expected[1]).max() > 1e-2
