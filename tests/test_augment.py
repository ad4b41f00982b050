import math

import numpy as np
import pytest
import tensorflow as tf

from isic_tf import augment

SEEDS = tf.stack([tf.range(4000, dtype=tf.int64) // 7, tf.range(4000, dtype=tf.int64) * 2**33], axis=1)
IDENTITY = {
    "flip": 0.0,
    "turn": 0.0,
    "rotation": 0.0,
    "zoom": 1.0,
    "shift_x": 0.0,
    "shift_y": 0.0,
    "brightness": 0.0,
    "contrast": 1.0,
    "saturation": 1.0,
}


def picture(size=9, count=2):
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), np.uint8)


def params(**changes):
    return {name: tf.fill([2], np.float32(value)) for name, value in {**IDENTITY, **changes}.items()}


def warped(image, **changes):
    return augment.warp(augment.as_float(image), augment.matrices(params(**changes))).numpy()


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
    found = augment.threefry(*[tuple(tf.constant(word, tf.uint32) for word in pair) for pair in (key, counter)])
    assert tuple(int(word) for word in found) == expected


def test_uniform_numbers_fill_the_interval_evenly_and_are_independent():
    draws = augment.uniform(SEEDS, 8).numpy()
    assert draws.min() >= 0
    assert draws.max() < 1
    assert np.abs(draws.mean(axis=0) - 0.5).max() < 0.02
    assert np.abs(np.histogram(draws, 20, (0, 1))[0] / draws.size - 0.05).max() < 0.005
    correlation = np.corrcoef(draws.T) - np.eye(8)
    assert np.abs(correlation).max() < 0.06
    assert len(np.unique(draws[:, 0])) > 3990


def test_numbers_are_the_same_under_xla():
    compiled = tf.function(lambda seeds: augment.uniform(seeds, 5), jit_compile=True)
    assert np.array_equal(compiled(SEEDS), augment.uniform(SEEDS, 5))


def test_both_halves_of_a_seed_and_all_their_bits_count():
    base = augment.uniform(tf.constant([[3, 5]], tf.int64), 4).numpy()
    for word in (0, 1):
        for bit in (0, 31, 32, 62):
            seed = np.array([[3, 5]], np.int64)
            seed[0, word] ^= 1 << bit
            assert (augment.uniform(tf.constant(seed), 4).numpy() != base).all()


def test_draws_stay_within_their_strengths():
    drawn = {name: value.numpy() for name, value in augment.sample(SEEDS, augment.STRENGTHS).items()}
    assert set(np.unique(drawn["flip"])) == {0, 1}
    assert abs(drawn["flip"].mean() - 0.5) < 0.03
    assert set(np.unique(drawn["turn"])) == {0, 1, 2, 3}
    assert math.radians(14.5) < np.abs(drawn["rotation"]).max() <= math.radians(15)
    assert np.abs(np.log(drawn["zoom"])).max() <= 0.12 + 1e-6
    assert np.abs(drawn["shift_x"]).max() <= 0.06
    assert 0.8 <= drawn["contrast"].min() < drawn["contrast"].max() <= 1.2


def test_strength_zero_is_the_identity():
    drawn = augment.sample(SEEDS[:2], augment.scaled(0.0))
    image = picture()
    assert np.abs(augment.apply(image, drawn) - augment.as_float(image)).max() < 1e-6


def test_strengths_scale_but_chances_stay_chances():
    assert augment.scaled(0.5)["rotation"] == 7.5
    assert augment.scaled(2.0)["flip"] == 1.0


@pytest.mark.parametrize("turn", [0, 1, 2, 3])
def test_turns_and_flips_move_pixels_exactly(turn):
    image = picture()
    plain = augment.as_float(image).numpy()
    assert np.array_equal(warped(image, turn=turn), np.rot90(plain, turn, (1, 2)))
    assert np.array_equal(warped(image, turn=turn, flip=1), np.rot90(plain[:, :, ::-1], turn, (1, 2)))


def test_a_shift_is_right_and_down_and_mirrors_the_border():
    image = picture(size=10)
    plain, moved = augment.as_float(image).numpy(), warped(image, shift_x=0.2, shift_y=0.1)
    # Two pixels right: columns 2.. come from 0..; column 1 mirrors column 1 about column 0, and column 0 column 2.
    assert np.allclose(moved[:, 1:, 2:], plain[:, :-1, :-2], atol=1e-6)
    assert np.allclose(moved[:, 1:, 0], plain[:, :-1, 2], atol=1e-6)
    assert np.allclose(moved[:, 0, 2:], plain[:, 1, :-2], atol=1e-6)


def reference_warp(image, matrix):
    """The warp of one image in NumPy, pixel by pixel."""
    size = len(image)
    result, span = np.zeros_like(image), size - 1
    for y in range(size):
        for x in range(size):
            about_centre = np.array([x - span / 2, y - span / 2, size])
            u, v = (span - abs((matrix @ about_centre + span / 2) % (2 * span) - span)).tolist()
            left, top = min(int(u), size - 2), min(int(v), size - 2)
            for row, column, weight in (
                (top, left, (1 - (u - left)) * (1 - (v - top))),
                (top, left + 1, (u - left) * (1 - (v - top))),
                (top + 1, left, (1 - (u - left)) * (v - top)),
                (top + 1, left + 1, (u - left) * (v - top)),
            ):
                result[y, x] += weight * image[row, column]
    return result


def test_warp_equals_its_numpy_reference_value_by_value():
    drawn = augment.sample(SEEDS[40:46], {**augment.STRENGTHS, "rotation": 180.0, "shift": 0.4, "zoom": 0.7})
    image = picture(size=12, count=6)
    matrices = augment.matrices(drawn).numpy().astype(np.float64)
    found = augment.warp(augment.as_float(image), augment.matrices(drawn)).numpy()
    for one, matrix, plain in zip(found, matrices, augment.as_float(image).numpy(), strict=True):
        assert np.abs(one - reference_warp(plain.astype(np.float64), matrix)).max() < 1e-4


def test_matrices_compose_as_worked_by_hand():
    # Zoomed by 2 and moved right by a quarter: output x = 2 * input x + 0.25, so input x = (output x - 0.25) / 2.
    assert np.allclose(augment.matrices(params(zoom=2, shift_x=0.25))[0], [[0.5, 0, -0.125], [0, 0.5, 0]], atol=1e-7)
    # A counter-clockwise turn by 30 degrees carries the input's (1, 0) to (cos 30, -sin 30), y pointing down.
    inverse = augment.matrices(params(rotation=math.radians(30)))[0, :, :2].numpy()
    assert np.allclose(inverse @ [math.sqrt(3) / 2, -0.5], [1, 0], atol=1e-6)


def test_colours_as_worked_by_hand():
    image = np.zeros((2, 1, 2, 3), np.float32)
    image[:, 0, 0] = (0.8, 0.4, 0.2)
    image[:, 0, 1] = (0.4, 0.4, 0.4)
    # Grey of the first pixel: 0.299 * 0.8 + 0.587 * 0.4 + 0.114 * 0.2 = 0.4968; half of the way from it to the pixel.
    found = augment.recolour(image, params(saturation=0.5)).numpy()
    assert np.allclose(found[0, 0], [(0.6484, 0.4484, 0.3484), (0.4, 0.4, 0.4)], atol=1e-6)
    # Red: mean 0.6, so 0.6 + 1.5 * 0.2 = 0.9 and 0.3; then 0.2 added, clipped at 1.
    found = augment.recolour(image, params(contrast=1.5, brightness=0.2)).numpy()
    assert np.allclose(found[0, 0, :, 0], (1.0, 0.5), atol=1e-6)


def test_the_whole_augmentation_compiles_under_xla_and_agrees():
    def whole(images, seeds):
        return augment.apply(images, augment.sample(seeds, augment.STRENGTHS))

    image = tf.constant(picture(size=16, count=5))
    compiled = tf.function(whole, jit_compile=True)(image, SEEDS[:5])
    assert np.abs(compiled - whole(image, SEEDS[:5])).max() < 1e-4


def test_replicas_differ_and_a_records_augmentation_depends_on_its_seed_alone(mirrored):
    image = tf.constant(picture(size=16, count=1)).numpy().repeat(4, 0)
    whole = augment.apply(image, augment.sample(SEEDS[10:14], augment.STRENGTHS)).numpy()
    assert len({one.tobytes() for one in whole}) == 4

    @tf.function
    def step(images, seeds):
        return mirrored.run(lambda x, s: augment.apply(x, augment.sample(s, augment.STRENGTHS)), args=(images, seeds))

    def share(values):
        return mirrored.experimental_distribute_values_from_function(
            lambda context: values[2 * context.replica_id_in_sync_group :][:2]
        )

    results = mirrored.experimental_local_results(step(share(tf.constant(image)), share(SEEDS[10:14])))
    assert np.abs(np.concatenate(results) - whole).max() < 1e-5
