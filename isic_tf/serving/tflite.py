"""A run's networks as one TensorFlow Lite (LiteRT) model, from an RGB image to a probability."""

import contextlib
import math
import warnings

import numpy as np
import tensorflow as tf

from isic_tf.data import clinical_metadata, targets
from isic_tf.serving import saved_model

FORMS = ("float32", "float16", "int8")
# Nine powers of e to it, for each of many networks, add up to a float32.
_GREATEST = 80.0


def convert(models, image_size, fields, form, samples=()):
    """Converts networks to one model that takes an image at a time, already decoded and of the network's size.

    Its signature takes `image` (uint8 `[1, S, S, 3]`, RGB) and, for networks with metadata, the schema's codes of what
    they see (int32 `[1]`, -1 where unknown), and gives `prediction`, float32 `[1]`. Weights and activations of `int8`
    are quantized after training (Jacob et al., CVPR 2018, arXiv:1712.05877); `float16` halves the weights alone.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S in pixels of what they see.
        fields: See `clinical_metadata.parse`.
        form: One of `FORMS`.
        samples: For `int8`, what the ranges of activations are taken from: pairs of an image (uint8 `[S, S, 3]`) and
            its codes (one integer a field).

    Returns:
        Bytes of a `.tflite` file.
    """
    signature = [tf.TensorSpec([1, image_size, image_size, 3], tf.uint8, "image")]
    signature += [tf.TensorSpec([1], tf.int32, name) for name in clinical_metadata.columns(fields)]

    @tf.function(input_signature=signature)
    def predict(image, *codes):
        logits = saved_model.logits(models, image, saved_model.encode_codes(codes, fields))
        return {"prediction": (_unquantized_mean if form == "int8" else targets.mean_probability)(logits)}

    module = tf.Module()
    module.networks = [one.variables for one in models]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([predict.get_concrete_function()], module)
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        # By name: the converter has its own order of inputs.
        converter.representative_dataset = lambda: (_inputs(image, codes, fields) for image, codes in samples)
    with _without_farewell():
        return converter.convert()


def _unquantized_mean(logits):
    """Does what `targets.mean_probability` does by operations that TensorFlow Lite never quantizes.

    A quantized sigmoid or softmax, or a mean of these, knows steps of 1/256 only, and most lesions are less likely than
    that to be malignant. Powers, `add_n` and quotients have no 8-bit kernels.
    """
    shares = []
    for each in logits:
        # As many times as there are networks: a division of their sum would be quantized.
        if each.shape[-1] == 1:
            odds = tf.pow(math.exp(-1), each[:, 0])
            shares.append(tf.pow(tf.add_n([tf.ones_like(odds), odds] * len(logits)), -1.0))
        else:
            # No power may be infinite. To subtract the greatest logit would round all of them once more.
            clipped = tf.clip_by_value(each, -_GREATEST, _GREATEST)
            powers = [tf.pow(math.e, column) for column in tf.unstack(clipped, axis=1)]
            shares.append(powers[targets.MALIGNANT] / tf.add_n(powers * len(logits)))
    return tf.add_n(shares)


def _inputs(image, codes, fields):
    columns = clinical_metadata.columns(fields)
    known = {name: np.array([code], np.int32) for name, code in zip(columns, codes, strict=True)}
    return {"image": image[np.newaxis], **known}


def make_predictor(content, fields, threads):
    """Opens a model that `convert` gave.

    Args:
        content: Bytes of the `.tflite` file.
        fields: See `clinical_metadata.parse`.
        threads: Threads that compute.

    Returns:
        Function from an image (uint8 `[S, S, 3]`) and its codes to its probability, a float.
    """
    runner = _open(content, threads).get_signature_runner()
    return lambda image, codes: float(runner(**_inputs(image, codes, fields))["prediction"][0])


@contextlib.contextmanager
def _without_farewell():
    """Keeps TensorFlow from saying at every use that its interpreter will move to LiteRT."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        yield


def _open(content, threads):
    try:
        # Where the interpreter lives from now on; TensorFlow 2.21 still brings its own.
        from ai_edge_litert import interpreter as source
    except ImportError:
        from tensorflow.lite.python import interpreter as source
    with _without_farewell():
        return source.Interpreter(model_content=content, num_threads=threads)
