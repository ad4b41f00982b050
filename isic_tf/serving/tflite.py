"""Exports the networks of a run as one TensorFlow Lite (LiteRT) model, from an RGB image to a probability."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.data import clinical_metadata, targets
from isic_tf.serving import saved_model

FORMS = ("float32", "float16", "int8")
# e**80 for each of nine classes and many networks still adds up to a finite float32.
_MAX_LOGIT = 80.0
# An image, uint8 [S, S, 3], and its codes, one integer per field.
Codes = Sequence[int] | np.ndarray
Sample = tuple[np.ndarray, Codes]


def convert(
    models: Sequence[tf.keras.Model], image_size: int, fields: str, form: str, samples: Sequence[Sample] = ()
) -> bytes:
    """Converts networks to one model that predicts one image, decoded and resized to the size of the networks.

    Its signature takes `image` (uint8 `[1, S, S, 3]`, RGB) and, for networks with metadata, the codes of the schema
    (int32 `[1]`, -1 where unknown), and returns `prediction`, float32 `[1]`. Weights and activations of `int8` are
    quantized after training (Jacob et al., CVPR 2018, arXiv:1712.05877); `float16` halves the weights only.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S of their images in pixels.
        fields: See `clinical_metadata.parse`.
        form: One of `FORMS`.
        samples: For `int8`, images and their codes from which the ranges of activations are taken.

    Returns:
        Bytes of a `.tflite` file.
    """
    signature = [tf.TensorSpec([1, image_size, image_size, 3], tf.uint8, "image")]
    for name in clinical_metadata.columns(fields):
        signature.append(tf.TensorSpec([1], tf.int32, name))
    mean_probability = _unquantized_mean if form == "int8" else targets.mean_probability

    @tf.function(input_signature=signature)
    def predict(image: tf.Tensor, *codes: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = saved_model.logits(models, image, saved_model.encode_codes(codes, fields))
        return {"prediction": mean_probability(logits)}

    module = tf.Module()
    module.networks = [model.variables for model in models]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([predict.get_concrete_function()], module)
    if form != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if form == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if form == "int8":
        # By name: the converter orders inputs in its own way.
        converter.representative_dataset = lambda: (_name_inputs(image, codes, fields) for image, codes in samples)
    with _without_deprecation_warning():
        return converter.convert()


def _unquantized_mean(logits: Sequence[tf.Tensor]) -> tf.Tensor:
    """Computes `targets.mean_probability` by operations that TensorFlow Lite never quantizes.

    A quantized sigmoid, softmax or mean of these has steps of 1/256, and most lesions are less likely than that to be
    malignant. Powers, `add_n` and quotients have no 8-bit kernels.
    """
    shares = []
    for each in logits:
        # Each term is added once per network, because a division of the sum would be quantized.
        if each.shape[-1] == 1:
            odds = tf.pow(math.exp(-1), each[:, 0])
            shares.append(tf.pow(tf.add_n([tf.ones_like(odds), odds] * len(logits)), -1.0))
        else:
            # Clipped, so that no power is infinite; subtracting the greatest logit would round all of them once more.
            clipped = tf.clip_by_value(each, -_MAX_LOGIT, _MAX_LOGIT)
            powers = [tf.pow(math.e, column) for column in tf.unstack(clipped, axis=1)]
            shares.append(powers[targets.MALIGNANT] / tf.add_n(powers * len(logits)))
    return tf.add_n(shares)


def _name_inputs(image: np.ndarray, codes: Codes, fields: str) -> dict[str, np.ndarray]:
    """Returns the inputs of the signature for one image."""
    columns = clinical_metadata.columns(fields)
    known = {name: np.array([code], np.int32) for name, code in zip(columns, codes, strict=True)}
    return {"image": image[np.newaxis], **known}


def make_predictor(content: bytes, fields: str, threads: int) -> Callable[[np.ndarray, Codes], float]:
    """Creates the function that predicts one image with a model of `convert`.

    Args:
        content: Bytes of the `.tflite` file.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads of the interpreter.

    Returns:
        Function from an image (uint8 `[S, S, 3]`) and its codes to its probability, from 0 to 1.
    """
    runner = _open_interpreter(content, threads).get_signature_runner()
    return lambda image, codes: float(runner(**_name_inputs(image, codes, fields))["prediction"][0])


@contextlib.contextmanager
def _without_deprecation_warning() -> Iterator[None]:
    """Hides TensorFlow's notice, at every use, that its interpreter will move to LiteRT."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"\s*Warning: tf.lite.Interpreter is deprecated")
        yield


def _open_interpreter(content: bytes, threads: int) -> Any:
    try:
        # The future home of the interpreter; TensorFlow 2.21 still contains its own.
        from ai_edge_litert import interpreter as source
    except ImportError:
        from tensorflow.lite.python import interpreter as source
    with _without_deprecation_warning():
        return source.Interpreter(model_content=content, num_threads=threads)
