import numpy as np
import pytest
from source_weights import make_state_dict

from isic_tf.models.pretrained import naming_schemes, state_dicts
from isic_tf.models.pretrained.state_dicts import Source
from tfrecord_tools import errors

SCHEMES = naming_schemes.SCHEMES


def convert(network, arrays, scheme="timm", epsilon=1e-3):
    return state_dicts.convert(network, Source("model.pth", "PyTorch", arrays), scheme, epsilon)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_the_weights_of_each_library_become_those_of_the_network(lite0, scheme):
    converted = convert(lite0, make_state_dict(lite0, scheme), scheme)
    assert len(converted.arrays) == len(lite0.weights)
    for found, expected in zip(converted.arrays, lite0.get_weights(), strict=True):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == np.float32
    assert len(converted.left_out) == (0 if scheme == "Keras 3" else 2)


def test_kernels_are_turned_from_output_first(lite0):
    arrays = make_state_dict(lite0, "timm")
    kernel = arrays["conv_stem.weight"]
    depthwise = arrays["blocks.0.0.conv_dw.weight"]
    assert (kernel.shape, depthwise.shape) == ((32, 3, 3, 3), (32, 1, 3, 3))
    converted = convert(lite0, arrays).arrays
    assert converted[0][0, 1, 2, 31] == kernel[31, 2, 0, 1]
    assert converted[5][0, 1, 31, 0] == depthwise[31, 0, 0, 1]


def test_half_precision_becomes_single_precision(lite0):
    arrays = {name: array.astype(np.float16) for name, array in make_state_dict(lite0, "timm").items()}
    converted = convert(lite0, arrays).arrays
    assert converted[0].dtype == np.float32
    np.testing.assert_allclose(converted[0], lite0.get_weights()[0], rtol=1e-3, atol=1e-6)


def test_another_epsilon_goes_into_gamma(lite0):
    arrays = make_state_dict(lite0, "timm")
    arrays["bn1.running_var"] = np.zeros_like(arrays["bn1.running_var"])
    _, gamma, beta, mean, variance = convert(lite0, arrays, epsilon=1e-5).arrays[:5]
    # gamma / sqrt(0 + 1e-5) is ten times gamma / sqrt(0 + 1e-3).
    np.testing.assert_allclose(gamma, 10 * arrays["bn1.weight"], rtol=1e-6)
    assert not variance.any()
    np.testing.assert_array_equal(beta, arrays["bn1.bias"])
    np.testing.assert_array_equal(mean, arrays["bn1.running_mean"])


def drop(arrays):
    del arrays["blocks.2.0.bn2.bias"]


def add(arrays):
    arrays["blocks.0.0.se.conv_reduce.bias"] = np.zeros(8, np.float32)


def reshape(arrays):
    arrays["conv_stem.weight"] = arrays["conv_stem.weight"][:, :1]


def shorten(arrays):
    arrays["bn1.bias"] = arrays["bn1.bias"][:8]


def spoil(arrays):
    arrays["bn1.bias"] = np.full(32, np.nan, np.float32)


def negate(arrays):
    arrays["bn1.running_var"] = -arrays["bn1.running_var"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, r"blocks.2.0.bn2.bias is missing \(1 missing, 0 left over\)"),
        (add, r"blocks.0.0.se.conv_reduce.bias belongs to no layer \(0 missing, 1 left over\)"),
        (reshape, r"\(32, 1, 3, 3\), which is \(3, 3, 1, 32\) in Keras's order, instead of \(3, 3, 3, 32\)"),
        (shorten, r"bn1.bias has the shape \(8,\) instead of \(32,\)"),
        (spoil, "bn1.bias holds values that are not finite"),
        (negate, "bn1.running_var holds negative variances"),
    ],
)
def test_what_does_not_fit_is_one_error(lite0, change, message):
    arrays = make_state_dict(lite0, "timm")
    change(arrays)
    with pytest.raises(errors.CorruptRecordError, match=f"weights of efficientnet-lite0 in model.pth, but .*{message}"):
        convert(lite0, arrays)
