import numpy as np
import pytest
import tensorflow as tf

from isic_tf.models import set_transformer


def draw(rng, count=3, length=12, dim=5):
    """Draws features, mask and logits: a full set, one of 5 lesions, one of a single lesion."""
    mask = np.zeros((count, length), bool)
    for row, lesions in zip(mask, (length, 5, 1), strict=False):
        row[:lesions] = True
    return [
        rng.normal(size=(count, length, dim)).astype("float32"),
        mask,
        rng.normal(size=(count, length, 1)).astype("float32"),
    ]


@pytest.fixture(scope="module")
def network():
    """A network whose corrections are no longer 0."""
    tf.keras.utils.set_random_seed(0)
    network = set_transformer.build_set_transformer(5, units=16)
    network.get_layer("dense_correction").kernel.assign(0.1 * np.random.default_rng(0).normal(size=(16, 1)))
    return network


@pytest.fixture
def sets():
    return draw(np.random.default_rng(1))


def test_an_untrained_network_is_stage_one(sets):
    assert np.array_equal(set_transformer.build_set_transformer(5, units=16)(sets), sets[2])


def test_the_order_of_lesions_does_not_matter(network, sets):
    given, order = network(sets).numpy(), np.random.default_rng(2).permutation(12)
    assert np.abs(given - sets[2])[sets[1]].max() > 0.1
    shuffled = network([part[:, order] for part in sets]).numpy()
    assert shuffled == pytest.approx(given[:, order], abs=1e-6)


def test_lesions_far_from_zero_and_near_each_other_keep_their_order(network, sets):
    # Means round at 1,000 to a ten-thousandth, which is seen where lesions differ by little more.
    sets[0] = 1000 + 0.01 * sets[0]
    order = np.random.default_rng(2).permutation(12)
    departure = network.get_layer("departure")
    features, mask, logits = (tf.cast(part, tf.float32) for part in sets)
    given = departure([features, mask, logits]).numpy()
    shuffled = departure([tf.gather(part, order, axis=1) for part in (features, mask, logits)]).numpy()
    assert shuffled == pytest.approx(given[:, order], abs=1e-5)


def test_padding_does_not_matter_whatever_it_holds(network, sets):
    given = network(sets).numpy()
    values = [np.where(sets[1][..., None], part, np.nan) for part in (sets[0], sets[2])]
    values = [np.pad(part, ((0, 0), (0, 20), (0, 0)), constant_values=7) for part in values]
    padded = network([values[0], np.pad(sets[1], ((0, 0), (0, 20))), values[1]]).numpy()[:, :12]
    assert padded[sets[1]] == pytest.approx(given[sets[1]], abs=1e-6)


def test_a_set_of_one_lesion_is_not_corrected_and_one_of_none_is_no_nan(network, sets):
    sets[1][0] = False
    given = network(sets).numpy()
    assert np.array_equal(given[[0, 2]], sets[2][[0, 2]])
    assert not np.array_equal(given[1], sets[2][1])


def test_a_departure_worked_by_hand():
    # Three lesions at 0, 0 and 3: from the mean of the two others they are -1.5, -1.5 and 3 away.
    layer = set_transformer.Departure(1, 1)
    features, logits = tf.constant([[[0.0], [0], [3], [9]]]), tf.constant([[[1.0], [1], [4], [9]]])
    seen = layer([features, tf.constant([[1.0, 1, 1, 0]]), logits]).numpy()[0]
    spread = (2.25 + 2.25 + 9) / 3
    assert seen[2, 0] == 3
    assert seen[2, 1] == pytest.approx(3 / np.sqrt(spread), abs=1e-4)
    assert seen[2, [2, 4]] == pytest.approx([np.log(3), np.log(spread) / 2], abs=1e-4)
    # The logit, how far above the mean of the others, how far below the highest, and of how many lesions.
    many = np.log(3)
    expected = np.array([[1, -1.5, 3, many], [1, -1.5, 3, many], [4, 3, 0, many]])
    assert seen[:3, 6:] == pytest.approx(expected, abs=1e-6)


def test_all_is_float32_whatever_the_policy(network, sets):
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        half = set_transformer.build_set_transformer(5, units=16)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    half.set_weights(network.get_weights())
    assert half.output.dtype == tf.float32
    assert half(sets).numpy() == pytest.approx(network(sets).numpy(), abs=1e-6)


def test_units_that_heads_cannot_share_are_refused():
    with pytest.raises(ValueError, match="a multiple of 4 heads, got 30; for example 28"):
        set_transformer.build_set_transformer(5, units=30)
