import itertools
import math

import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from isic_tf.augmentation import stateless_rng

SEEDS = tf.stack([tf.range(4000, dtype=tf.int64) // 7, tf.range(4000, dtype=tf.int64) * 2**33], axis=1)
# Bits set in both halves of both words, and negative numbers.
ODD_SEEDS = np.random.default_rng(1).integers(-(2**63), 2**63, (3, 2), np.int64)
WORD = 2**32


def reference_threefry(key, counter):
    """Threefry-2x32-20 in Python's whole numbers, from the paper: keys are added every four rounds."""
    keys = [*key, key[0] ^ key[1] ^ 0x1BD11BDA]
    rotations = [13, 15, 26, 6, 17, 29, 16, 24]
    x, y = (counter[0] + keys[0]) % WORD, (counter[1] + keys[1]) % WORD
    for done in range(1, 21):
        x = (x + y) % WORD
        turn = rotations[(done - 1) % 8]
        y = ((y << turn) % WORD | y >> (32 - turn)) ^ x
        if done % 4 == 0:
            x = (x + keys[done // 4 % 3]) % WORD
            y = (y + keys[(done // 4 + 1) % 3] + done // 4) % WORD
    return x, y


def reference_bits(seed, position, stream):
    first, second = (int(word) % 2**64 for word in seed)
    key = reference_threefry((first % WORD, first // WORD), (second % WORD, second // WORD))
    return reference_threefry(key, (position, stream))


def constants(pair):
    return tuple(tf.constant(word, tf.uint32) for word in pair)


@pytest.mark.parametrize(
    ("key", "counter", "expected"),
    [
        # The known answers published with Random123 for threefry2x32, 20 rounds.
        ((0, 0), (0, 0), (0x6B200159, 0x99BA4EFE)),
        ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        ((0x13198A2E, 0x03707344), (0x243F6A88, 0x85A308D3), (0xC4923A9C, 0x483DF7A0)),
    ],
)
def test_threefry_gives_the_published_answers(key, counter, expected):
    found = stateless_rng.threefry(constants(key), constants(counter))
    assert tuple(int(word) for word in found) == expected
    # So that the reference below rests on them too.
    assert reference_threefry(key, counter) == expected


def test_threefry_broadcasts_counters_with_keys():
    keys, counters = np.random.default_rng(2).integers(0, WORD, (2, 2, 3), np.uint32)
    found = stateless_rng.threefry(constants(keys[:, :, None]), constants(counters[:, None]))
    for word in (0, 1):
        assert found[word].shape == (3, 3)
        for one, other in itertools.product(range(3), range(3)):
            expected = reference_threefry(keys[:, one].tolist(), counters[:, other].tolist())
            assert int(found[word][one, other]) == expected[word]


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_bits_encrypt_position_and_stream_with_the_seeds_key(shape):
    positions = np.random.default_rng(3).integers(0, WORD, shape, np.uint32)
    found = [word.numpy() for word in stateless_rng.bits(tf.constant(ODD_SEEDS), tf.constant(positions), 5)]
    for word in (0, 1):
        assert found[word].shape == (3, *shape)
        for record, place in itertools.product(range(3), np.ndindex(shape)):
            expected = reference_bits(ODD_SEEDS[record], int(positions[place]), 5)
            assert found[word][(record, *place)] == expected[word]


def test_each_of_the_bits_is_set_half_of_the_time():
    for word in stateless_rng.bits(SEEDS, tf.cast(tf.range(8), tf.uint32), 0):
        shares = [(word.numpy() >> bit & 1).mean() for bit in range(32)]
        # 32000 coins: standard deviation 0.0028.
        assert np.abs(np.array(shares) - 0.5).max() < 0.014


def test_uniform_numbers_are_the_upper_24_bits_of_the_first_words():
    found = stateless_rng.uniform(tf.constant(ODD_SEEDS), 5, stateless_rng.HOLES).numpy()
    assert found.dtype == np.float32
    expected = [
        [(reference_bits(seed, n, stateless_rng.HOLES)[0] >> 8) / 2**24 for n in range(5)] for seed in ODD_SEEDS
    ]
    assert np.array_equal(found, expected)


def test_uniform_numbers_fill_the_interval_evenly_and_are_independent():
    found = stateless_rng.uniform(SEEDS, 8).numpy()
    assert found.min() >= 0
    assert found.max() < 1
    assert np.abs(found.mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(np.histogram(found, 20, (0, 1))[0] / found.size - 0.05).max() < 0.005
    correlation = np.corrcoef(found.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.06
    assert len(np.unique(found[:, 0])) > 3990


def test_more_numbers_begin_with_the_same_ones():
    assert np.array_equal(stateless_rng.uniform(SEEDS[:50], 9)[:, :4], stateless_rng.uniform(SEEDS[:50], 4))


def test_streams_are_apart_and_independent():
    streams = (
        stateless_rng.PARAMETERS,
        stateless_rng.CELLS,
        stateless_rng.HAIRS,
        stateless_rng.FIELD,
        stateless_rng.HOLES,
        stateless_rng.BOX,
        stateless_rng.PIXELS,
    )
    assert len(set(streams)) == 7
    found = np.concatenate([stateless_rng.uniform(SEEDS, 2, stream).numpy() for stream in streams], axis=1)
    assert np.abs(np.corrcoef(found.T) - np.eye(14)).max() < 0.06
    # The same positions of two streams nowhere agree beyond chance: 4000 pairs of 24 bits.
    for one, other in itertools.combinations(range(0, 14, 2), 2):
        assert (found[:, one] == found[:, other]).sum() < 3


def test_numbers_are_the_same_under_xla():
    seeds = tf.concat([SEEDS[:100], ODD_SEEDS], axis=0)
    compiled = tf.function(
        lambda seeds: (stateless_rng.uniform(seeds, 5), stateless_rng.noise(seeds, 3, 6)), jit_compile=True
    )
    numbers, noise = compiled(seeds)
    assert np.array_equal(numbers, stateless_rng.uniform(seeds, 5))
    assert np.allclose(noise, stateless_rng.noise(seeds, 3, 6), atol=1e-6)


@pytest.mark.parametrize("word", [0, 1])
def test_every_bit_of_a_seed_counts(word):
    base = np.array([[3, 5]], np.int64)
    changed = base.repeat(64, 0)
    changed[:, word] ^= np.left_shift(np.int64(1), np.arange(64))
    found = stateless_rng.uniform(tf.constant(np.concatenate([base, changed])), 4).numpy()
    assert len(np.unique(found[:, 0])) == 65
    assert (found[1:] != found[:1]).all()


def test_the_two_words_of_a_seed_do_not_commute():
    found = stateless_rng.uniform(tf.constant([[3, 5], [5, 3], [8, 0], [0, 8]], tf.int64), 1).numpy()
    assert len(np.unique(found)) == 4


def test_normal_numbers_are_those_of_box_and_muller():
    first, second = stateless_rng.uniform(SEEDS[:200], 2).numpy().astype(np.float64).T
    expected = np.sqrt(-2 * np.log(1 - first)) * np.cos(2 * np.pi * second)
    found = stateless_rng.normal(*(tf.constant(part, tf.float32) for part in (first, second)))
    assert np.abs(found - expected).max() < 1e-5
    # At the ends of the interval: ln 1 = 0, and 24 bits give sqrt(48 ln 2) = 5.77 at most.
    ends = stateless_rng.normal(tf.constant([0.0, 1 - 2.0**-24]), tf.constant([0.3, 0.5])).numpy()
    assert np.allclose(ends, [0, -math.sqrt(48 * math.log(2))], atol=1e-4)


def test_normal_numbers_have_the_normal_distribution():
    numbers = stateless_rng.uniform(SEEDS, 8)
    found = stateless_rng.normal(numbers[:, :4], numbers[:, 4:]).numpy().ravel()
    # 16000 numbers: standard error of the mean 0.008, of the standard deviation 0.0056.
    assert abs(found.mean()) < 0.03
    assert abs(found.std() - 1) < 0.02
    shares = np.array([0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99])
    assert np.abs((found[:, None] < scipy.stats.norm.ppf(shares)).mean(axis=0) - shares).max() < 0.015
    assert scipy.stats.kstest(found, "norm").pvalue > 0.001


@pytest.fixture(scope="module")
def noise():
    return stateless_rng.noise(SEEDS[:200], 16, stateless_rng.PIXELS).numpy()


def test_noise_has_mean_0_and_deviation_1_within_its_bounds(noise):
    assert noise.shape == (200, 16, 16, 3)
    assert noise.dtype == np.float32
    # 51200 numbers a channel: standard error 0.0044.
    assert np.abs(noise.mean(axis=(0, 1, 2))).max() < 0.02
    assert np.abs(noise.std(axis=(0, 1, 2)) - 1).max() < 0.02
    # Nearly normal: the ends are reached, the sum of four has an excess kurtosis of -1.2 / 4.
    assert -3.5 <= noise.min() < -2.9
    assert 2.9 < noise.max() <= 3.5
    assert abs(scipy.stats.kurtosis(noise, axis=None) + 0.3) < 0.06
    assert abs(scipy.stats.skew(noise, axis=None)) < 0.03


def test_noise_is_the_scaled_sum_of_a_words_bytes(noise):
    # Where a number times its scale is whole, the sum of four bytes was.
    sums = noise.astype(np.float64) * math.sqrt(4 * (256**2 - 1) / 12) + 510
    assert np.abs(sums - sums.round()).max() < 1e-3
    assert sums.round().min() >= 0
    assert sums.round().max() <= 1020
    # All four bytes count: with fewer the sum would stay below 766.
    assert sums.max() > 900


def test_noise_is_uncorrelated_between_channels_neighbours_and_records(noise):
    pairs = [
        (noise[..., 0], noise[..., 1]),
        (noise[..., 0], noise[..., 2]),
        (noise[..., 1], noise[..., 2]),
        (noise[:, 1:], noise[:, :-1]),
        (noise[:, :, 1:], noise[:, :, :-1]),
        (noise[:, 1:, 1:], noise[:, :-1, :-1]),
        (noise[1:], noise[:-1]),
        # Across channels and pixels at once, as a word used twice would be.
        (noise[:, :, 1:, 0], noise[:, :, :-1, 2]),
        (noise[:, :, 1:, 0], noise[:, :, :-1, 1]),
    ]
    for one, other in pairs:
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.02


def test_noise_differs_by_seed_and_repeats(noise):
    assert len({one.tobytes() for one in noise}) == 200
    # Whatever the batch.
    assert np.array_equal(stateless_rng.noise(SEEDS[17:19], 16, stateless_rng.PIXELS), noise[17:19])


def test_noise_of_different_streams_is_independent(noise):
    for stream in (stateless_rng.PIXELS - 1, stateless_rng.PIXELS + 1, stateless_rng.PIXELS + 2):
        other = stateless_rng.noise(SEEDS[:200], 16, stream).numpy()
        for one, two in itertools.product(range(3), range(3)):
            assert abs(np.corrcoef(noise[..., one].ravel(), other[..., two].ravel())[0, 1]) < 0.02
