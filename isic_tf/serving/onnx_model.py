"""Exports the networks of a run as one ONNX model, from RGB images to probabilities, by tf2onnx."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from isic_tf.data import clinical_metadata, targets
from isic_tf.serving import graph_metadata, graph_networks, tflite
from tfrecord_tools import configuration, errors

FILE = "model.onnx"
_PACKAGES = ("tf2onnx", "onnx", "onnxruntime")


def require_packages() -> None:
    """Checks that the packages of the extra `onnx` are installed.

    Raises:
        ConfigError: One is not.
    """
    configuration.require_packages("--format=onnx", _PACKAGES, "'tf2onnx>=1.17' onnx onnxruntime")


def convert(
    models: Sequence[tf.keras.Model], image_size: int, fields: str, classes: targets.ClassSet = targets.BINARY
) -> bytes:
    """Converts networks to one model that predicts a batch of images, decoded and resized to their size.

    Its inputs are those of `tflite.convert` for any number n of images: `image` (uint8 `[n, S, S, 3]`, RGB) and those
    of `tflite.list_inputs` (`[n]`). It returns `prediction`, float32 `[n]`, and for several classes `probabilities`,
    float32 `[n, classes]`. All numbers are float32.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S of their images in pixels.
        fields: See `clinical_metadata.parse`.
        classes: The classes that the classifiers predict.

    Returns:
        Bytes of an `.onnx` file.

    Raises:
        IsicError: The networks use an operation that tf2onnx does not know.

    Examples:
        >>> content = convert([network], 224, "sex")  # doctest: +SKIP
        >>> make_predictor(content, "sex", 2)(np.zeros([8, 224, 224, 3], np.uint8), [[0]] * 8).shape  # doctest: +SKIP
        (8,)
    """
    import onnx
    import tf2onnx

    signature = [tf.TensorSpec([None, image_size, image_size, 3], tf.uint8, "image")]
    signature += [tf.TensorSpec([None], kind, name) for name, kind in tflite.list_inputs(fields).items()]

    @tf.function(input_signature=signature)
    def predict(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        logits = graph_networks.logits(models, image, _encode(values, fields))
        return graph_networks.name_outputs(targets.mean_scores(logits, classes))

    found, _ = tf2onnx.convert.from_function(predict, signature, custom_op_handlers={"Erfc": (_convert_erfc, [])})
    unknown = {node.op_type for node in found.graph.node if not onnx.defs.has(node.op_type, node.domain)}
    if unknown:
        raise errors.IsicError(
            f"expected operations that tf2onnx converts, got {', '.join(sorted(unknown))}; use --format=saved_model"
        )
    for value in (*found.graph.input, *found.graph.output):
        # tf2onnx gives the number of images another name in each.
        value.type.tensor_type.shape.dim[0].dim_param = "n"
    return found.SerializeToString()


def _encode(values: Sequence[tf.Tensor], fields: str) -> tf.Tensor | None:
    """Returns the metadata of the networks, float32 `[n, m]`, for the inputs of `tflite.list_inputs`; None for none."""
    count = len(clinical_metadata.columns(fields))
    known = graph_metadata.encode_codes(values[:count], fields)
    parts = [] if known is None else [known]
    if values[count:]:
        parts.append(tf.stack([tf.cast(value, tf.float32) for value in values[count:]], axis=1))
    return tf.concat(parts, axis=1) if parts else None


def _convert_erfc(ctx: Any, node: Any, name: str, args: Any) -> None:
    """Replaces erfc(x) by 1 - erf(x): the GELU of ConvNeXt is made of it, and tf2onnx 1.17 does not know it."""
    (output,) = node.output
    shape, kind, source = ctx.get_shape(output), ctx.get_dtype(output), node.input[0]
    ctx.remove_node(node.name)
    one = ctx.make_const(f"{name}_one", np.float32(1)).output[0]
    erf = ctx.make_node("Erf", [source]).output[0]
    ctx.make_node("Sub", [one, erf], outputs=[output], name=name, shapes=[shape], dtypes=[kind])


def make_predictor(content: bytes, fields: str, threads: int) -> Callable[[np.ndarray, Any], np.ndarray]:
    """Creates the function that predicts images with a model of `convert`, by ONNX Runtime on the CPU.

    Args:
        content: Bytes of the `.onnx` file.
        fields: See `clinical_metadata.parse`.
        threads: Number of threads.

    Returns:
        Function from images (uint8 `[n, S, S, 3]`) and their codes (`[n, inputs]`, see `tflite.list_inputs`) to
        probabilities, float32 `[n]`, from 0 to 1; of several classes to scores, float32 `[n, 1 + classes]`, see
        `targets.mean_scores`.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = tflite.list_inputs(fields)
    outputs = [output.name for output in session.get_outputs()]

    def predict(images: np.ndarray, codes: Any) -> np.ndarray:
        columns = zip(inputs.items(), np.asarray(codes).T, strict=True) if inputs else ()
        known = {name: column.astype(kind.as_numpy_dtype) for (name, kind), column in columns}
        found = dict(zip(outputs, session.run(outputs, {"image": images, **known}), strict=True))
        if "probabilities" not in found:
            return found["prediction"]
        return np.column_stack([found["prediction"], found["probabilities"]])

    return predict
