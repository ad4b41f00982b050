import cv2
import image_bytes
import numpy as np
import pytest
import tensorflow as tf

from isic_tf.data import decoding, photographs
from isic_tf.serving import graph_images
from tfrecord_tools import imaging
from tfrecord_tools.building import build_config
from tfrecord_tools.imaging import image_files, preprocessing

SIZE = 8
SQUARE = cv2.resize(image_bytes.NOISE, (48, 48), interpolation=cv2.INTER_CUBIC)
KINDS = {
    "jpeg": image_bytes.jpeg(SQUARE),
    "gray jpeg": cv2.imencode(".jpg", SQUARE[..., 0])[1].tobytes(),
    "progressive jpeg": cv2.imencode(".jpg", SQUARE, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes(),
    "cmyk jpeg": image_bytes.cmyk_jpeg(marked=True),
    "cmyk jpeg without a marker": image_bytes.cmyk_jpeg(marked=False),
    "png": image_bytes.png(SQUARE),
    "png of 16 bits": image_bytes.png(SQUARE.astype(np.uint16) * 257),
    **{f"jpeg turned by {number}": image_bytes.rotated_jpeg(number, SQUARE) for number in range(2, 9)},
    **{f"png turned by {number}": image_bytes.rotated_png(number, SQUARE) for number in (3, 6)},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", [20, 48, 70])
def test_each_kind_of_file_has_the_same_pixels_on_every_path(kind, size, tmp_path):
    data = KINDS[kind]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    # As `tfrecord_tools.build`, `predict --images` and `diagnose` decode it; as a request of the exported model.
    built = image_files.prepare_image(str(path), {"image_size": size}).astype(int)
    served = graph_images.decode(tf.constant([data]), size)[0].numpy().astype(int)
    difference = np.abs(served - built)
    # Ties are rounded either way when an image is enlarged.
    assert difference.max() <= (1 if size == 70 else 0)
    assert difference.mean() < 1e-3
    if size == 48:
        # Records are decoded by the fast inverse DCT of libjpeg.
        record = decoding.decode(data, size).numpy()
        assert np.abs(record - built).mean() < (2.5 if "jpeg" in kind else 1e-9)


def test_a_file_of_another_kind_is_refused_with_its_position():
    message = r"the bytes of a JPEG or PNG file for every image, got something else at position \(from 0\)"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        graph_images.decode(
            tf.constant([tf.io.encode_png(tf.zeros([SIZE, SIZE, 3], tf.uint8)).numpy(), b"GIF89a"]), SIZE
        )


def make_photograph(height=300, width=400, border=0):
    """A lesion on skin under yellow light, in a black frame."""
    rng = np.random.default_rng(0)
    image = np.full((height, width, 3), (200, 170, 120), np.uint8)
    cv2.circle(image, (width // 3, height // 2), height // 5, (110, 60, 50), -1)
    image = np.clip(image + rng.normal(0, 4, (height, width, 1)), 0, 255).astype(np.uint8)
    return cv2.copyMakeBorder(image, border, border, 2 * border, border, cv2.BORDER_CONSTANT)


@pytest.mark.parametrize("resize", build_config.RESIZE_MODES)
@pytest.mark.parametrize("trim_border", [False, True])
@pytest.mark.parametrize("color_constancy", build_config.COLOR_CONSTANCIES)
@pytest.mark.parametrize("size", [64, 500])
def test_files_are_prepared_as_records_are(resize, trim_border, color_constancy, size, tmp_path):
    steps = {"resize": resize, "trim_border": trim_border, "color_constancy": color_constancy}
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), make_photograph(border=20)[..., ::-1])
    expected = image_files.prepare_image(str(path), {"image_size": size, **steps}).astype(int)
    found = graph_images.decode(tf.constant([path.read_bytes()]), size, steps)[0].numpy().astype(int)
    # Ties are rounded either way.
    assert np.abs(found - expected).max() <= 2
    assert np.abs(found - expected).mean() < 0.02


@pytest.mark.parametrize(("record_size", "size"), [(64, 64), (100, 48), (48, 64)])
def test_files_pass_through_records_where_their_encoding_is_known(record_size, size, tmp_path):
    steps = {"record_size": record_size, "quality": 90}
    path = tmp_path / "x.jpg"
    cv2.imwrite(str(path), make_photograph()[..., ::-1])
    square = image_files.prepare_image(str(path), {"image_size": record_size, "resize": "pad"})
    record = imaging.encode(np.ascontiguousarray(square[..., ::-1]), quality=90)
    expected = decoding.decode(record, size).numpy()
    found = graph_images.decode(tf.constant([path.read_bytes()]), size, {"resize": "pad", **steps})[0].numpy()
    assert np.array_equal(found, expected)
    reader = photographs.PhotographReader(size, {"resize": "pad", "trim_border": "False", "color_constancy": "none"})
    assert not np.array_equal(reader.read_file(str(path)).square, expected)
    texts = {name: str(value) for name, value in steps.items()}
    run = {"resize": "pad", "trim_border": "False", "color_constancy": "none", **texts}
    assert np.array_equal(photographs.PhotographReader(size, run).read_file(str(path)).square, expected)


@pytest.mark.parametrize(
    "image",
    [
        make_photograph(),
        make_photograph(border=15),
        np.zeros((40, 60, 3), np.uint8),
        np.where(np.hypot(*np.mgrid[-60:60, -80:80])[..., None] < 70, np.uint8(180), np.uint8(3)).repeat(3, axis=2),
        # Black in the middle is no border.
        cv2.circle(np.full((100, 100, 3), 150, np.uint8), (50, 50), 20, (0, 0, 0), -1),
        # A spiral: black that the edge reaches by a long way.
        cv2.polylines(
            np.full((64, 64, 3), 150, np.uint8),
            [np.array([[0, 10], [50, 10], [50, 50], [12, 50], [12, 24], [36, 24], [36, 38]])],
            False,
            (0, 0, 0),
            5,
        ),
    ],
    ids=["no border", "frame", "black", "circle", "black lesion", "spiral"],
)
def test_the_content_inside_a_border_is_found_as_when_records_are_built(image):
    found = graph_images.find_content(tf.constant(image)).numpy()
    assert found == pytest.approx(preprocessing.find_content(image), abs=1e-6)


def test_shades_of_gray_is_the_function_of_the_records():
    image = make_photograph()
    assert np.array_equal(graph_images.shades_of_gray(tf.constant(image)), preprocessing.shades_of_gray(image))


@pytest.mark.realdata
def test_real_photographs_have_the_same_pixels(real_data):
    paths = sorted((real_data / "isic2020" / "jpeg512" / "train").glob("*.jpg"))[::40]
    paths += sorted((real_data / "isic2017" / "train").glob("*.jpg"))[::150]
    assert len(paths) >= 20
    for number, path in enumerate(paths):
        steps = {"resize": build_config.RESIZE_MODES[number % 3], "trim_border": number % 2 == 1}
        expected = image_files.prepare_image(str(path), {"image_size": 224, **steps}).astype(int)
        found = graph_images.decode(tf.constant([path.read_bytes()]), 224, steps)[0].numpy().astype(int)
        assert np.abs(found - expected).max() <= 1, path
