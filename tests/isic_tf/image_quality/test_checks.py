import subprocess
import sys

import cv2
import harness
import numpy as np
import pytest

from isic_tf.image_quality import Finding, check_image, checks
from tfrecord_tools import errors
from tfrecord_tools.imaging import codec


def make_photograph(height=450, width=600):
    """Textured skin with a lesion."""
    grain = np.random.default_rng(0).normal(0, 8, (height, width, 1))
    image = np.full((height, width, 3), (205, 160, 150), float) + grain
    cv2.circle(image, (width // 2, height // 2), height // 5, (110, 70, 55), -1)
    return np.clip(image, 0, 255).astype(np.uint8)


def compress(image):
    """JPEG turns uneven light into even blocks."""
    light = np.linspace(0.6, 1, 450)[:, None, None] * np.linspace(0.6, 1, 600)[:, None]
    uneven = (cv2.blur(image, (9, 9)) * light).astype(np.uint8)
    assert checks.measure(uneven)["compressed"] < 1.1
    return codec.decode(codec.encode(uneven, 5), "test")[0]


def names(image):
    return [finding.name for finding in check_image(image)]


def test_nothing_is_wrong_with_a_good_photograph():
    assert names(make_photograph()) == []


def test_a_round_view_is_not_dark_and_its_border_no_lesion():
    for color in (0, 255):
        photograph = make_photograph()
        inside = np.zeros((450, 600), np.uint8)
        cv2.ellipse(inside, (300, 225), (290, 218), 0, 0, 360, 1, -1)
        photograph[inside == 0] = color
        assert names(photograph) == []
    skin = np.full((450, 600, 3), (205, 160, 150), np.uint8)
    skin[inside == 0] = 0
    assert names(skin) == ["no lesion"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("blurred", lambda image: cv2.GaussianBlur(image, (0, 0), 8)),
        ("dark", lambda image: (image * 0.4).astype(np.uint8)),
        ("overexposed", lambda image: np.clip(image * 1.7, 0, 255).astype(np.uint8)),
        ("color cast", lambda image: (image * (1, 0.5, 1)).astype(np.uint8)),
        ("no lesion", lambda image: image[:120, :150].repeat(4, axis=0).repeat(4, axis=1)),
        ("low resolution", lambda image: image[100:323]),
        ("compressed", lambda image: compress(image)),
    ],
)
def test_damage_is_found(name, damage):
    finding = next(one for one in check_image(damage(make_photograph())) if one.name == name)
    check = checks.CHECKS[name]
    assert finding == Finding(name, finding.value, check.threshold, check.text)
    assert (finding.value > finding.threshold) == check.above


def test_a_ruler_and_ink_are_found():
    ink = make_photograph()
    ink[:, :100] = 60, 40, 160
    assert names(ink) == ["ruler or ink"]
    ruler = make_photograph()
    for row in range(30, 430, 25):
        cv2.line(ruler, (10, row), (110, row), (20, 20, 20), 3)
    assert names(ruler) == ["ruler or ink"]


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (np.zeros((31, 40, 3), np.uint8), ["low resolution"]),
        (np.zeros((32, 32, 3), np.uint8), ["dark", "low resolution"]),
        (np.full((300, 300, 3), 255, np.uint8), ["overexposed", "no lesion"]),
        (np.full((300, 300, 3), 160, np.uint8), ["no lesion"]),
        (np.full((32, 8000, 3), 160, np.uint8), ["no lesion", "low resolution"]),
        (np.full((8000, 8000, 3), (205, 160, 150), np.uint8), ["no lesion"]),
        (np.tile(np.array([[[90]], [[200]]], np.uint8), (150, 300, 3)), ["no lesion"]),
    ],
    ids=["too small to judge", "tiny", "white", "gray", "narrow", "huge", "stripes"],
)
def test_odd_images(image, expected):
    assert names(image) == expected


def test_every_check_has_a_value_that_is_a_number():
    values = checks.measure(make_photograph())
    assert list(values) == list(checks.CHECKS)
    assert all(isinstance(value, float) and np.isfinite(value) for value in values.values())


def test_views_of_other_arrays_are_read_too():
    photograph = make_photograph()
    reversed_view = photograph[..., ::-1].copy()[..., ::-1]
    assert checks.measure(reversed_view) == checks.measure(photograph)
    photograph.flags.writeable = False
    assert names(photograph) == []


@pytest.mark.parametrize(
    ("image", "got"),
    [
        (np.zeros((40, 40), np.uint8), r"got uint8 \[40, 40\]"),
        (np.zeros((40, 40, 4), np.uint8), r"got uint8 \[40, 40, 4\]"),
        (np.zeros((40, 40, 3), np.float32), r"got float32 \[40, 40, 3\]"),
        (None, r"got NoneType \[\]"),
    ],
)
def test_anything_but_an_rgb_image_is_an_error(image, got):
    with pytest.raises(errors.ConfigError, match=f"expected a uint8 image.*{got}; convert the image to 8-bit RGB"):
        check_image(image)


def test_tensorflow_is_not_loaded():
    code = "import sys; from isic_tf.image_quality import check_image; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=harness.ENVIRONMENT, check=True)


@pytest.mark.realdata
def test_few_real_photographs_are_flagged(real_data):
    # Every eighth image of the half that the thresholds were not set on, and as many of ISIC 2017.
    paths = sorted((real_data / "isic2020" / "jpeg512" / "train").glob("*.jpg"))[1::8]
    paths += sorted((real_data / "isic2017" / "train").glob("*.jpg"))[::40]
    found = [names(np.ascontiguousarray(codec.decode(path.read_bytes(), path.name)[0][..., ::-1])) for path in paths]
    assert len(found) == 98
    for name in checks.CHECKS:
        assert sum(name in one for one in found) <= 5, name
    assert sum(one != [] for one in found) <= 15
