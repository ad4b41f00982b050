import numpy as np
import pytest
import tensorflow as tf

from isic_tf.inference import test_time_augmentation
from isic_tf.inference.config import TTA_POLICIES

IMAGE = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)


def test_the_eight_versions_are_the_symmetries_of_the_square():
    found = [test_time_augmentation.dihedral(IMAGE, tf.constant(view)).numpy()[0] for view in range(8)]
    assert np.array_equal(found[0], IMAGE[0])
    assert np.array_equal(found[1], IMAGE[0, ::-1])
    assert np.array_equal(found[2], IMAGE[0, :, ::-1])
    expected = {np.rot90(image, turn).tobytes() for image in (IMAGE[0], IMAGE[0, ::-1]) for turn in range(4)}
    assert {image.tobytes() for image in found} == expected
    assert len(expected) == 8


def test_versions_are_float_in_the_unit_range_and_compile_with_static_shapes():
    images, keys = (
        tf.constant(np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)),
        tf.range(2, dtype=tf.int64),
    )
    run = {"augment_policy": "light", "augment_strength": "1.0"}
    for kind in TTA_POLICIES:
        view = test_time_augmentation.make_views(2, kind, run, seed=3)
        found = tf.function(view, jit_compile=kind == "dihedral")(images, keys, tf.constant(1))
        assert found.dtype == tf.float32
        assert found.shape == (2, 32, 32, 3)
        assert 0 <= float(tf.reduce_min(found)) <= float(tf.reduce_max(found)) <= 1


def test_there_are_no_more_than_eight_symmetries():
    with pytest.raises(ValueError, match="expected --tta from 1 to 8 with --tta_policy=dihedral, got 9"):
        test_time_augmentation.make_views(9, "dihedral", {}, 0)
