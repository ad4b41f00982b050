"""Exports the networks of a run as one TensorFlow graph, from JPEG files to probabilities, that needs no isic-tf."""

import os
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import clinical_metadata, decoding, targets
from tfrecord_tools import schema
from tfrecord_tools.io import filesystem

# Highest age in the table of the graph, in years; `clinical_metadata.encode` accepts the same ages.
_MAX_AGE = 120


def logits(models: Sequence[tf.keras.Model], images: tf.Tensor, metadata: tf.Tensor | None) -> list[tf.Tensor]:
    """Computes the logits of each network.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        images: uint8 `[b, S, S, 3]`.
        metadata: float32 `[b, m]`, see `encode_codes`; None for networks without metadata.

    Returns:
        List of float32 `[b, outputs]`, one per network.
    """
    scaled = decoding.to_float(images)
    inputs = scaled if metadata is None else [scaled, metadata]
    return [model(inputs, training=False) for model in models]


def encode_codes(codes: Sequence[tf.Tensor], fields: str) -> tf.Tensor | None:
    """Encodes metadata in a graph as `clinical_metadata.encode` encodes those of a table.

    Args:
        codes: Integers `[b]` in the order of `clinical_metadata.columns`, -1 where unknown; ages from 0 to 120 years.
        fields: See `clinical_metadata.parse`.

    Returns:
        float32 `[b, m]`; None where there are no fields.
    """
    names = clinical_metadata.parse(fields)
    columns = clinical_metadata.columns(fields)
    parts = []
    for code, name, column in zip(codes, names, columns, strict=True):
        highest = len(schema.CATEGORIES[column]) - 1 if column in schema.CATEGORIES else _MAX_AGE
        # The encoding of every code, computed by the one function that defines it.
        table = clinical_metadata.encode(pd.DataFrame({column: np.arange(schema.UNKNOWN, highest + 1)}), name)
        parts.append(tf.gather(tf.constant(table), code - schema.UNKNOWN))
    return tf.concat(parts, axis=1) if parts else None


def list_inputs(fields: str) -> list[str]:
    """Lists the names that numeric columns have as inputs of an exported model.

    Args:
        fields: See `clinical_metadata.parse`.

    Returns:
        Names in the order of `clinical_metadata.parse_numeric`; characters besides letters, digits and underscores are
        replaced by underscores.

    Examples:
        >>> list_inputs("age,tbp_lv_areaMM2,diameter (mm)")
        ['tbp_lv_areaMM2', 'diameter__mm_']
    """
    names: list[str] = []
    for column in clinical_metadata.parse_numeric(fields):
        name = re.sub(r"\W", "_", column, flags=re.ASCII)
        # An argument of a Python function, too.
        name = name if name[0].isalpha() else f"column_{name}"
        # TensorFlow Lite has an input NAME_unknown for each, too.
        others = (*names, *(f"{other}_unknown" for other in names), *clinical_metadata.columns(fields), "image")
        while name in others or f"{name}_unknown" in names:
            name += "_"
        names.append(name)
    return names


def encode_numbers(values: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Encodes numeric columns in a graph as `clinical_metadata.encode` does.

    Args:
        values: float32 `[b]` of each column, NaN where unknown.

    Returns:
        Values, 0 where unknown, and 1 where unknown, both float32 `[b, k]`; nothing where there are no columns.
    """
    if not values:
        return []
    numbers = tf.stack(values, axis=1)
    is_unknown = tf.math.is_nan(numbers)
    return [tf.where(is_unknown, 0.0, numbers), tf.cast(is_unknown, tf.float32)]


def make_module(
    models: Sequence[tf.keras.Model], image_size: int, fields: str = "", classes: targets.ClassSet = targets.BINARY
) -> tf.Module:
    """Creates the module that `tf.saved_model.save` writes.

    Its function `predict` takes `image` (JPEG or PNG files of any size, string `[n]`) and, for networks with metadata,
    those of `age_approx` (int64 `[n]`, years, -1 where unknown), `sex` and `anatom_site_general_challenge` (string
    `[n]`, the words of the schema, "" where unknown) and of the numeric columns (float32 `[n]`, NaN where unknown, see
    `list_inputs`) that they use. It returns `prediction`, float32 `[n]`, and for
    several classes `probabilities`, float32 `[n, classes]`, in the order of the classes. Images are decoded by
    `decoding.decode`, so that the image of a record is predicted as in its record set. Any other file or value fails
    with an `InvalidArgumentError` that names its position in the batch.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S of their images in pixels.
        fields: See `clinical_metadata.parse`.
        classes: The classes that the classifiers predict.

    Returns:
        `tf.Module`.
    """
    module = tf.Module()
    # The graph alone would lose the variables. The models are not attached: Keras would save its layers too, and a
    # client would need them.
    module.networks = [model.variables for model in models]
    columns = clinical_metadata.columns(fields)
    signature = [tf.TensorSpec([None], tf.string, "image")]
    for name in columns:
        signature.append(tf.TensorSpec([None], tf.string if name in schema.CATEGORIES else tf.int64, name))
    numeric = list_inputs(fields)
    signature += [tf.TensorSpec([None], tf.float32, name) for name in numeric]

    @tf.function(input_signature=signature)
    def predict(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        def predict_images() -> tf.Tensor:
            codes = [_read_codes(name, value) for name, value in zip(columns, values, strict=False)]
            numbers = [_read_numbers(*pair) for pair in zip(numeric, values[len(columns) :], strict=True)]
            known = encode_codes(codes, fields)
            parts = [*([] if known is None else [known]), *encode_numbers(numbers)]
            metadata = tf.concat(parts, axis=1) if parts else None
            return targets.mean_scores(logits(models, decode(image, image_size), metadata), classes)

        # On some CPUs the oneDNN kernels of TensorFlow 2.21 fail on a batch of no images.
        empty = [0, 1 + len(classes.names)] if classes.names else [0]
        return name_outputs(tf.cond(tf.size(image) > 0, predict_images, lambda: tf.zeros(empty)))

    module.predict = predict
    return module


def name_outputs(scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Names the outputs of a signature.

    Args:
        scores: Probabilities `[n]`, or scores `[n, 1 + classes]`, see `targets.mean_scores`.

    Returns:
        Dict of `prediction`, `[n]`, and for scores `probabilities`, `[n, classes]`.
    """
    if scores.shape.rank == 1:
        return {"prediction": scores}
    return {"prediction": scores[:, 0], "probabilities": scores[:, 1:]}


def save(
    models: Sequence[tf.keras.Model],
    image_size: int,
    fields: str,
    directory: str,
    classes: targets.ClassSet = targets.BINARY,
) -> float:
    """Writes the module of `make_module` into a directory as a SavedModel.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side of their images in pixels.
        fields: See `clinical_metadata.parse`.
        directory: Directory to write; new or empty.
        classes: See `make_module`.

    Returns:
        Size of the files in MB.
    """
    module = make_module(models, image_size, fields, classes)
    tf.saved_model.save(module, directory, signatures={"serving_default": module.predict})
    directories = (directory, os.path.join(directory, "variables"))
    paths = [os.path.join(parent, name) for parent in directories for name in filesystem.listdir(parent)]
    return sum(filesystem.size(path) for path in paths if not filesystem.isdir(path)) / 1e6


def decode(files: tf.Tensor, image_size: int) -> tf.Tensor:
    """Decodes a batch of JPEG or PNG files of any size.

    Args:
        files: string `[n]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[n, S, S, 3]`.
    """

    def decode_one(numbered: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        position, file = numbered
        is_png = tf.strings.substr(file, 0, 4) == b"\x89PNG"
        problem = "expected the bytes of a JPEG or PNG file for every image, got something else at position (from 0)"
        with tf.control_dependencies([tf.debugging.Assert(tf.io.is_jpeg(file) | is_png, [problem, position])]):
            file = tf.identity(file)
        return decoding.resize(decoding.decode_any(file, image_size), image_size)

    numbered = (tf.range(tf.size(files)), files)
    return tf.map_fn(decode_one, numbered, fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.uint8))


def _read_codes(column: str, values: tf.Tensor) -> tf.Tensor:
    """Returns the codes, int64 `[n]`, of the values of a field, words or years `[n]`; any other value fails."""
    if column in schema.CATEGORIES:
        names = schema.CATEGORIES[column]
        words = tf.strings.lower(tf.strings.strip(values))
        is_name = words[:, tf.newaxis] == tf.constant(names)
        valid = tf.reduce_any(is_name, axis=1) | (words == "")
        code = tf.argmax(tf.cast(is_name, tf.int32), axis=1)
        codes = tf.where(words == "", tf.constant(schema.UNKNOWN, tf.int64), code)
        wanted = f"one of {', '.join(names)}, or empty where unknown"
    else:
        valid = (values >= schema.UNKNOWN) & (values <= _MAX_AGE)
        codes = values
        wanted = f"from 0 to {_MAX_AGE} years, or {schema.UNKNOWN} where unknown"
    invalid = tf.boolean_mask(values, ~valid)
    problem = [f"expected {column} {wanted}, got", invalid]
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(valid), problem)]):
        return tf.identity(codes)


def _read_numbers(name: str, values: tf.Tensor) -> tf.Tensor:
    """Returns the values of a numeric column, float32 `[n]`; an infinite one fails."""
    is_infinite = tf.math.is_inf(values)
    problem = [f"expected {name} to be a number, or NaN where unknown, got", tf.boolean_mask(values, is_infinite)]
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(is_infinite), problem)]):
        return tf.identity(values)
