"""Exports the networks of a run as one TensorFlow Lite (LiteRT) model, from an RGB image to a probability."""

import contextlib
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.data import clinical_metadata, targets
from isic_tf.models import standardization
from isic_tf.serving import graph_metadata, graph_networks

# e**80 for each of many classes and networks still adds up to a finite float32.
_MAX_LOGIT = 80.0
# An image, uint8 [S, S, 3], and its codes: a number for each of `list_inputs`.
Codes = Sequence[int] | np.ndarray
Sample = tuple[np.ndarray, Codes]


def convert(
    models: Sequence[tf.keras.Model],
    image_size: int,
    fields: str,
    form: str,
    samples: Sequence[Sample] = (),
    classes: targets.ClassSet = targets.BINARY,
) -> bytes:
    """Converts networks to one model that predicts one image, decoded and resized to the size of the networks.

    Its signature takes `image` (uint8 `[1, S, S, 3]`, RGB) and, for networks with metadata, the codes of the schema
    (int32 `[1]`, -1 where unknown) and of each numeric column its value (float32 `[1]`, 0 where unknown) and whether it
    is unknown (int32 `[1]`, 1 or 0, see `list_inputs`). It returns `prediction`, float32 `[1]`, and for several classes
    `probabilities`, float32 `[1, classes]`. Weights and activations of `int8` are quantized after training (Jacob et
    al., CVPR 2018, arXiv:1712.05877); `float16` halves the weights only.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S of their images in pixels.
        fields: See `clinical_metadata.parse`.
        form: One of `config.FORMS`.
        samples: For `int8`, images and their codes from which the ranges of activations are taken.
        classes: The classes that the classifiers predict.

    Returns:
        Bytes of a `.tflite` file.
    """
    signature = [tf.TensorSpec([1, image_size, image_size, 3], tf.uint8, "image")]
    inputs = list_inputs(fields)
    signature += [tf.TensorSpec([1], kind, name) for name, kind in inputs.items()]
    count = len(clinical_metadata.columns(fields))
    # Outside of the graph, in which Keras would name new layers as old ones.
    split = [standardization.split_off(model) for model in models] if len(inputs) > count else []

    @tf.function(input_signature=signature)
    def predict(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        known = graph_metadata.encode_codes(values[:count], fields)
        if split:
            logits = _standardized_logits(split, image, known, values[count:])
        else:
            logits = graph_networks.logits(models, image, known)
        if form == "int8":
            return _unquantized_outputs(logits, classes)
        return graph_networks.name_outputs(targets.mean_scores(logits, classes))

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


def list_inputs(fields: str) -> dict[str, tf.DType]:
    """Lists the inputs of a model besides the image.

    Args:
        fields: See `clinical_metadata.parse`.

    Returns:
        Dict from name to type: the codes of the schema; then the values of the numeric columns; then, for each of
        them, whether it is unknown.

    Examples:
        >>> list(list_inputs("sex,area"))
        ['sex', 'area', 'area_unknown']
    """
    numeric = graph_metadata.list_inputs(fields)
    return {
        **dict.fromkeys(clinical_metadata.columns(fields), tf.int32),
        **dict.fromkeys(numeric, tf.float32),
        **dict.fromkeys([f"{name}_unknown" for name in numeric], tf.int32),
    }


def _standardized_logits(
    split: Sequence[tuple[tf.keras.Model, Sequence[np.ndarray]]],
    image: tf.Tensor,
    known: tf.Tensor | None,
    values: Sequence[tf.Tensor],
) -> list[tf.Tensor]:
    """Computes the logits of each network, for which the columns are standardized one by one.

    The network's own layer has all columns in one array, and 8 bits for numbers of different sizes.
    """
    count = len(values) // 2
    unknown = [tf.gather([0.0, 1.0], value) for value in values[count:]]
    found = []
    for network, (means, spreads) in split:
        parts = zip(values[:count], values[count:], means, spreads, strict=True)
        standardized = [_standardize_unquantized(*part) for part in parts]
        metadata = tf.stack([*standardized, *unknown], axis=1)
        joined = metadata if known is None else tf.concat([known, metadata], axis=1)
        found += graph_networks.logits([network], image, joined)
    return found


def _standardize_unquantized(value: tf.Tensor, unknown: tf.Tensor, mean: float, spread: float) -> tf.Tensor:
    """Standardizes a column as `standardization.standardize` does, by a sum that is never quantized.

    The two numbers are integers of the same bits: a float16 model rounds constants, and cannot hold large ones.
    """

    def look_up(known: float, other: float) -> tf.Tensor:
        bits = np.array([known, other], np.float32).view(np.int32)
        return tf.bitcast(tf.gather(tf.constant(bits), unknown), tf.float32)

    return tf.add_n([value, look_up(-mean, 0.0)]) / look_up(spread, spread)


def _unquantized_outputs(logits: Sequence[tf.Tensor], classes: targets.ClassSet) -> dict[str, tf.Tensor]:
    """Computes the outputs as `targets.mean_scores` does, by operations that TensorFlow Lite never quantizes.

    A quantized sigmoid, softmax or mean of these has steps of 1/256, and most lesions are less likely than that to be
    malignant. Powers, `add_n` and quotients have no 8-bit kernels.
    """
    shares = []
    for each in logits:
        # Each term is added once per network, because a division of the sum would be quantized.
        if not classes.is_softmax:
            odds = [tf.pow(math.exp(-1), column) for column in tf.unstack(each, axis=1)]
            shares.append([tf.pow(tf.add_n([tf.ones_like(one), one] * len(logits)), -1.0) for one in odds])
        else:
            # Clipped, so that no power is infinite; subtracting the greatest logit would round all of them once more.
            clipped = tf.clip_by_value(each, -_MAX_LOGIT, _MAX_LOGIT)
            powers = [tf.pow(math.e, column) for column in tf.unstack(clipped, axis=1)]
            total = tf.add_n(powers * len(logits))
            shares.append([power / total for power in powers])
    probabilities = [tf.add_n(of_class) for of_class in zip(*shares, strict=True)]
    if not classes.names:
        return {"prediction": probabilities[0]}
    # As integers of the same bits, because there are 8-bit kernels that join numbers and find the greatest. Of numbers
    # that are not negative, the integers have the same order.
    bits = [tf.bitcast(one, tf.int32) for one in probabilities]
    if classes.multi_label:
        greatest = tf.reduce_max(tf.stack([bits[place] for place in classes.places], axis=1), axis=1)
        single = tf.bitcast(greatest, tf.float32)
    else:
        single = tf.add_n([probabilities[place] for place in classes.places])
    return {"prediction": single, "probabilities": tf.bitcast(tf.stack(bits, axis=1), tf.float32)}


def _name_inputs(image: np.ndarray, codes: Codes, fields: str) -> dict[str, np.ndarray]:
    """Returns the inputs of the signature for one image."""
    inputs = list_inputs(fields).items()
    known = {name: np.array([code], kind.as_numpy_dtype) for (name, kind), code in zip(inputs, codes, strict=True)}
    return {"image": image[np.newaxis], **known}


def make_predictor(content: bytes, fields: str, threads: int) -> Callable[[np.ndarray, Codes], float | np.ndarray]:
    """Creates the function that predicts one image with a model of `convert`.

    Args:
        content: Bytes of the `.tflite` file.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads of the interpreter.

    Returns:
        Function from an image (uint8 `[S, S, 3]`) and its codes to its probability, from 0 to 1; of several classes to
        scores, float32 `[1 + classes]`, see `targets.mean_scores`.
    """
    runner = _open_interpreter(content, threads).get_signature_runner()

    def predict(image: np.ndarray, codes: Codes) -> float | np.ndarray:
        found = runner(**_name_inputs(image, codes, fields))
        if "probabilities" not in found:
            return float(found["prediction"][0])
        return np.concatenate([found["prediction"], found["probabilities"][0]])

    return predict


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
