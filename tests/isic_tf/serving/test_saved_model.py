import cv2
import image_bytes
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import expit

from isic_tf.data import clinical_metadata, decoding
from isic_tf.models import classifiers
from isic_tf.serving import saved_model, tflite
from tfrecord_tools.imaging import codec, image_files

SIZE = 8


def encode_gray(value, side=SIZE, encode=tf.io.encode_png):
    return encode(tf.fill([side, side, 3], tf.constant(value, tf.uint8))).numpy()


def sum_network(inputs):
    """A network whose logit is the mean of the image's values, less 0.5, and the weighted metadata."""
    images = tf.keras.Input((SIZE, SIZE, 3))
    mean = tf.keras.layers.GlobalAveragePooling2D()(images)
    dense = tf.keras.layers.Dense(1)
    if not inputs:
        network = tf.keras.Model(images, dense(mean))
    else:
        metadata = tf.keras.Input((inputs,))
        network = tf.keras.Model([images, metadata], dense(tf.keras.layers.Concatenate()([mean, metadata])))
    kernel = [[1 / 3]] * 3 + [[float(number + 1)] for number in range(inputs)]
    dense.set_weights([np.array(kernel), np.array([-0.5])])
    return network


def test_metadata_are_encoded_as_those_of_a_table():
    table = pd.DataFrame({"age_approx": [-1, 0, 35, 120], "sex": [1, -1, 0, 0]})
    codes = [table["age_approx"].to_numpy(), table["sex"].to_numpy()]
    assert np.array_equal(saved_model.encode_codes(codes, "age,sex"), clinical_metadata.encode(table, "age,sex"))
    assert saved_model.encode_codes([], "") is None


def test_files_are_decoded_as_the_input_pipeline_does():
    pixels = np.random.default_rng(0).integers(0, 256, (20, 12, 3), np.uint8)
    jpeg = tf.io.encode_jpeg(pixels, quality=95).numpy()
    png = tf.io.encode_png(pixels).numpy()
    found = saved_model.decode(tf.constant([jpeg, png]), SIZE)
    assert found.dtype == tf.uint8
    assert found.shape == (2, SIZE, SIZE, 3)
    assert np.array_equal(found[0], decoding.decode(jpeg, SIZE))
    assert np.array_equal(found[1], decoding.resize(tf.constant(pixels), SIZE))


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
def test_each_kind_of_file_has_the_same_pixels_on_every_path(kind, tmp_path):
    data = KINDS[kind]
    path = tmp_path / "x.jpg"
    path.write_bytes(data)
    side = codec.image_size(data)[0]
    # As `tfrecord_tools.build` and `predict --images` decode it; as a record; as a request of the exported model.
    built = image_files.prepare_image(str(path), {"image_size": side}).astype(int)
    record = decoding.decode(data, side).numpy()
    served = saved_model.decode(tf.constant([data]), side)[0].numpy()
    assert np.array_equal(served, record)
    # At full size, TensorFlow uses the fast inverse DCT of libjpeg.
    assert np.abs(record - built).mean() < (2.5 if "jpeg" in kind else 1e-9)


def test_a_file_of_another_kind_is_refused_with_its_position():
    message = r"the bytes of a JPEG or PNG file for every image, got something else at position \(from 0\)"
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        saved_model.decode(tf.constant([encode_gray(0), b"GIF89a"]), SIZE)


def test_the_saved_model_is_the_mean_of_the_networks_worked_by_hand(tmp_path):
    megabytes = saved_model.save([sum_network(0), sum_network(0)], SIZE, "", str(tmp_path))
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert megabytes == pytest.approx(sum(sizes) / 1e6)
    predict = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    found = predict(image=tf.constant([encode_gray(0), encode_gray(255, side=24)]))["prediction"].numpy()
    assert found.dtype == np.float32
    assert found == pytest.approx(expit([-0.5, 0.5]), abs=1e-6)


def test_words_and_years_are_taken_as_metadata():
    fields = "age,sex"
    module = saved_model.make_module([sum_network(clinical_metadata.width(fields))], SIZE, fields)

    def predict(age, sex):
        image = tf.constant([encode_gray(0)])
        return float(module.predict(image, tf.constant([age], tf.int64), tf.constant([sex]))["prediction"][0])

    for age, sex, code in ((65, "female", 1), (65, " Female", 1), (-1, "", -1), (0, "male", 0)):
        table = pd.DataFrame({"age_approx": [age], "sex": [code]})
        inputs = clinical_metadata.encode(table, fields)[0]
        logit = -0.5 + inputs @ np.arange(1, len(inputs) + 1)
        assert predict(age, sex) == pytest.approx(expit(logit), abs=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="age_approx from 0 to 120 years, or -1 where unknown"):
        predict(121, "male")
    with pytest.raises(tf.errors.InvalidArgumentError, match="sex one of male, female, or empty where unknown"):
        predict(50, "x")


def test_numbers_are_taken_as_they_are_with_unknown_ones_not_a_number():
    fields = "sex,area (mm),2nd,area"
    names = ["area__mm_", "column_2nd", "area"]
    assert saved_model.list_inputs(fields) == names
    module = saved_model.make_module([sum_network(clinical_metadata.width(fields))], SIZE, fields)

    def predict(*numbers):
        image = tf.constant([encode_gray(0)])
        return float(
            module.predict(image, tf.constant(["male"]), *[tf.constant([n]) for n in numbers])["prediction"][0]
        )

    # Weights 1 of male, 4, 5 and 6 of the values, and 7, 8 and 9 of unknown ones.
    assert predict(-0.5, 0.1, 0.25) == pytest.approx(expit(-0.5 + 1 - 2 + 0.5 + 1.5), abs=1e-6)
    assert predict(-2.0, np.nan, -0.25) == pytest.approx(expit(-0.5 + 1 - 8 + 8 - 1.5), abs=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="column_2nd to be a number, or NaN where unknown, got"):
        predict(0.0, np.inf, 0.0)


def test_inputs_of_two_columns_never_have_one_name():
    names = saved_model.list_inputs("area,area_unknown,a b,a_b,sex_")
    assert names == ["area", "area_unknown_", "a_b", "a_b_", "sex_"]


# One network of each family: custom layers, convolutions of groups, all kinds of pooling and activations.
FAMILIES = ("efficientnet-lite0", "convnext-tiny", "resnet-rs-50", "regnetx-002", "densenet-121", "mobilenetv3-small")


@pytest.mark.parametrize("backbone", FAMILIES)
def test_a_network_of_each_family_predicts_the_same_after_both_exports(backbone, tmp_path):
    size = 32
    network = classifiers.build_classifier(backbone, size)
    # Random features differ little between images.
    kernel, bias = network.get_layer("logits").get_weights()
    network.get_layer("logits").set_weights([100 * kernel, bias])
    pixels = np.random.default_rng(0).integers(0, 256, (2, size, size, 3), np.uint8)
    expected = expit(network(pixels / np.float32(255)).numpy()[:, 0])
    saved_model.save([network], size, "", str(tmp_path))
    predict = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    files = tf.constant([tf.io.encode_png(image).numpy() for image in pixels])
    assert predict(image=files)["prediction"].numpy() == pytest.approx(expected, abs=1e-5)
    predict_lite = tflite.make_predictor(tflite.convert([network], size, "", "float32"), "", 1)
    assert [predict_lite(image, ()) for image in pixels] == pytest.approx(expected, abs=1e-5)
