import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy.special import expit

from isic_tf.data import clinical_metadata
from isic_tf.models import classifiers
from isic_tf.serving import graph_metadata, run_parts, saved_model, tflite

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


def test_the_saved_model_is_the_mean_of_the_networks_worked_by_hand(tmp_path):
    megabytes = saved_model.save([sum_network(0), sum_network(0)], SIZE, "", str(tmp_path))
    sizes = [path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()]
    assert megabytes == pytest.approx(sum(sizes) / 1e6)
    predict = tf.saved_model.load(str(tmp_path)).signatures["serving_default"]
    found = predict(image=tf.constant([encode_gray(0), encode_gray(255, side=24)]))["prediction"].numpy()
    assert found.dtype == np.float32
    assert found == pytest.approx(expit([-0.5, 0.5]), abs=1e-6)


def test_networks_see_two_images_or_more():
    images = tf.keras.Input((SIZE, SIZE, 3))
    count = tf.keras.layers.Lambda(
        lambda batch: tf.fill([tf.shape(batch)[0], 1], tf.cast(tf.shape(batch)[0], tf.float32))
    )
    module = saved_model.make_module([tf.keras.Model(images, count(images))], SIZE)
    for given, seen in ((0, 2), (1, 2), (2, 2), (3, 3)):
        found = module.predict(tf.constant([encode_gray(0)] * given, tf.string))["prediction"].numpy()
        assert found == pytest.approx([expit(seen)] * given)


def test_calibration_versions_and_pixels_worked_by_hand(tmp_path):
    calibration = {"method": "temperature", "temperature": 0.5, "prevalence": 0.5, "used_at": None}
    # Counts the left half only, so that two of four versions differ.
    images = tf.keras.Input((SIZE, SIZE, 3))
    left = tf.keras.layers.GlobalAveragePooling2D()(images[:, :, : SIZE // 2])
    dense = tf.keras.layers.Dense(1)
    network = tf.keras.Model(images, dense(left))
    dense.set_weights([np.full((3, 1), 1 / 3), np.array([-0.5])])
    parts = run_parts.RunParts(versions=4, calibration=calibration)
    saved_model.save([network], SIZE, "", str(tmp_path), parts=parts)
    signatures = tf.saved_model.load(str(tmp_path)).signatures
    pixels = np.zeros((1, SIZE, SIZE, 3), np.uint8)
    pixels[:, :, : SIZE // 2] = 255
    found = signatures["pixels"](pixels=tf.constant(pixels))
    mean = (expit(0.5) + expit(-0.5)) / 2
    assert found["prediction"].numpy() == pytest.approx([mean], abs=1e-6)
    assert found["calibrated"].numpy() == pytest.approx([0.5], abs=1e-6)
    file = tf.io.encode_png(pixels[0])
    of_file = signatures["serving_default"](image=tf.stack([file]))
    assert of_file["prediction"].numpy() == found["prediction"].numpy()
    # Odds of 1 / 9 instead of 1.
    calibrate = signatures["calibrate"]
    shifted = calibrate(prediction=tf.constant([0.5, 0.8]), prevalence=tf.constant([0.1, 0.1]))["calibrated"]
    assert shifted.numpy() == pytest.approx([0.1, 16 / 9 / (16 / 9 + 1)], abs=1e-6)
    with pytest.raises(tf.errors.InvalidArgumentError, match="a prevalence between 0 and 1 for every image, got"):
        calibrate(prediction=tf.constant([0.5]), prevalence=tf.constant([1.0]))


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
    assert graph_metadata.list_inputs(fields) == names
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
