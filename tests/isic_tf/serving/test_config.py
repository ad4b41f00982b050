import pytest

from isic_tf.serving import config
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"quantize": ["int4"], "format": "tflite"}, "--quantize to be some of float32,float16,int8, got 'int4'"),
        ({"quantize": [], "format": "tflite"}, "--quantize to be some of float32,float16,int8, got ''"),
        ({"quantize": ["float16"]}, "--quantize=float16 needs --format=tflite: a SavedModel is always float32"),
        (
            {"quantize": ["int8"], "format": "onnx"},
            "--quantize=int8 needs --format=tflite: an ONNX model is always flo",
        ),
        ({"quantize": ["int8"], "format": "tflite"}, "--quantize=int8 needs --records"),
        ({"labels": "x.csv"}, "--labels needs --records"),
        ({"table": "x.csv"}, "--table needs --records: the shards of the images that it describes"),
        (
            {"context": "context", "format": "tflite"},
            "expected --context with --format=saved_model, got tflite, which predicts single images; leave one of them",
        ),
        ({"format": "keras"}, "format"),
    ],
)
def test_options_that_do_not_fit_are_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.ExportConfig(workdir="run", output="model", **changes)


def test_an_onnx_model_needs_no_other_option():
    options = config.ExportConfig(workdir="run", output="model", format="onnx")
    assert options.quantize == ("float32",)
