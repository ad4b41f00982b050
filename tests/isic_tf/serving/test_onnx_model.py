import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit
from scipy.stats import norm

from isic_tf.data import targets
from isic_tf.models import classifiers, standardization
from isic_tf.serving import graph_networks, onnx_model
from tfrecord_tools import errors

for package in ("tf2onnx", "onnx", "onnxruntime"):
    pytest.importorskip(package, reason="needs tf2onnx, onnx and onnxruntime: the extra onnx")


def dense_network(weights, bias, metadata=0, activation=None, standardize=None):
    """A network whose logits are sums of the mean red, green and blue, and of metadata, with these weights."""
    images = tf.keras.Input((8, 8, 3))
    seen, inputs = tf.keras.layers.GlobalAveragePooling2D()(images), images
    if metadata:
        known = tf.keras.Input((metadata,))
        inputs = [images, known]
        seen = tf.keras.layers.Concatenate()([seen, standardize(known) if standardize else known])
    dense = tf.keras.layers.Dense(len(bias), activation)
    network = tf.keras.Model(inputs, dense(seen))
    dense.set_weights([np.float32(weights), np.float32(bias)])
    return network


def gray(*values):
    return np.stack([np.full((8, 8, 3), value, np.uint8) for value in values])


def predict(networks, images, codes=None, fields="", classes=targets.BINARY):
    content = onnx_model.convert(networks, 8, fields, classes)
    return onnx_model.make_predictor(content, fields, 1)(images, codes)


def test_the_mean_probability_of_the_networks_worked_by_hand_for_any_number_of_images():
    networks = [dense_network([[2 / 3]] * 3, [-1]), dense_network([[-4 / 3]] * 3, [0.5])]
    seen = np.array([0, 51, 255]) / 255
    expected = (expit(2 * seen - 1) + expit(-4 * seen + 0.5)) / 2
    content = onnx_model.convert(networks, 8, "")
    run = onnx_model.make_predictor(content, "", 1)
    assert run(gray(0, 51, 255), None) == pytest.approx(expected, abs=1e-6)
    assert run(gray(51), None) == pytest.approx(expected[1:2], abs=1e-6)


def test_inputs_and_outputs_have_the_names_of_the_other_forms():
    import onnx

    model = onnx.load_from_string(onnx_model.convert([dense_network([[0.0]] * 10, [0], 7)], 8, "age,sex,area"))
    onnx.checker.check_model(model, full_check=True)
    shapes = {
        value.name: [side.dim_param or side.dim_value for side in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    }
    assert shapes.pop("image") == ["n", 8, 8, 3]
    assert list(shapes) == ["age_approx", "sex", "area", "area_unknown", "prediction"]
    assert set(map(tuple, shapes.values())) == {("n",)}


def test_metadata_are_codes_and_unknown_has_an_input_of_its_own():
    # One-hot: male, female, unknown.
    network = dense_network([[0.0]] * 3 + [[1.0], [2.0], [-3.0]], [0], 3)
    assert predict([network], gray(0, 0, 0), [[0], [1], [-1]], "sex") == pytest.approx(expit([1, 2, -3]), abs=1e-6)


def test_numeric_columns_are_standardized():
    standardize = standardization.StandardizeLast(1)
    network = dense_network([[0.0]] * 3 + [[0.5], [-0.5], [0.0], [1.0], [0.25]], [0], 5, standardize=standardize)
    standardize.set_weights([np.array([1e6]), np.array([2e4])])
    found = predict([network], gray(0, 0), [[0, 1.02e6, 0], [1, 0, 1]], "sex,area")
    assert found == pytest.approx(expit([0.5 + 1, -0.5 + 0.25]), abs=1e-6)


@pytest.mark.parametrize("multi_label", [False, True])
def test_several_classes_have_probabilities(multi_label):
    classes = targets.ClassSet(("A", "B", "C"), ("A", "C"), multi_label)
    network = dense_network(np.zeros((3, 3)), np.log([2.0, 1.0, 5.0]))
    each = [2 / 3, 1 / 2, 5 / 6] if multi_label else [2 / 8, 1 / 8, 5 / 8]
    single = 5 / 6 if multi_label else 7 / 8
    found = predict([network], gray(0, 9), classes=classes)
    assert found == pytest.approx(np.array([[single, *each]] * 2), abs=1e-6)


def test_gelu_is_that_of_its_definition():
    images, values = tf.keras.Input((8, 8, 3)), np.float32([-9, -2, -0.5, 0, 0.5, 2, 9])
    hidden = tf.keras.layers.Dense(7, lambda x: tf.nn.gelu(x, approximate=False))
    last = tf.keras.layers.Dense(7)
    network = tf.keras.Model(images, last(hidden(tf.keras.layers.GlobalAveragePooling2D()(images))))
    hidden.set_weights([np.zeros((3, 7)), values])
    last.set_weights([np.eye(7), np.zeros(7)])
    classes = targets.ClassSet(tuple("ABCDEFG"), ("A",), multi_label=True)
    found = predict([network], gray(0), classes=classes)
    assert found[0, 1:] == pytest.approx(expit(values * norm.cdf(values)), abs=1e-6)


def test_a_real_network_predicts_as_in_tensorflow():
    tf.keras.utils.set_random_seed(0)
    network = classifiers.build_classifier("efficientnet-lite0", 64)
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    expected = targets.mean_scores(graph_networks.logits([network], images, None)).numpy()
    content = onnx_model.convert([network], 64, "")
    assert expected.std() > 1e-4
    assert onnx_model.make_predictor(content, "", 2)(images, None) == pytest.approx(expected, abs=1e-5)


def test_an_operation_that_cannot_be_converted_is_named():
    images = tf.keras.Input((8, 8, 3))
    pooled = tf.keras.layers.GlobalAveragePooling2D()(images)
    network = tf.keras.Model(images, tf.keras.layers.Lambda(lambda x: tf.math.lgamma(x[:, :1] + 1))(pooled))
    with pytest.raises(errors.IsicError, match="expected operations that tf2onnx converts, got Lgamma; use --format=s"):
        onnx_model.convert([network], 8, "")
