"""A run's networks as one TensorFlow graph from JPEG files to probabilities, which needs nothing of this package."""

import os

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import clinical_metadata, decoding, targets
from tfrecord_tools import schema
from tfrecord_tools.io import filesystem

# Ages that a graph's table holds, in years; `clinical_metadata.encode` knows the same.
_OLDEST = 120


def logits(models, images, known):
    """Gives what a run's networks say.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        images: uint8 `[b, S, S, 3]`.
        known: float32 `[b, m]`, see `encode_codes`; None for networks without metadata.

    Returns:
        List of float32 `[b, 1]` or `[b, 9]`, one a network.
    """
    scaled = decoding.to_float(images)
    return [one(scaled if known is None else [scaled, known], training=False) for one in models]


def encode_codes(codes, fields):
    """Does in a graph what `clinical_metadata.encode` does with a table.

    Args:
        codes: Integers `[b]` in the order of `clinical_metadata.columns`, -1 where unknown; ages in years up to 120.
        fields: See `clinical_metadata.parse`.

    Returns:
        float32 `[b, m]`; None where there are no fields.
    """
    parts = []
    for code, name, column in zip(
        codes, clinical_metadata.parse(fields), clinical_metadata.columns(fields), strict=True
    ):
        most = len(schema.CATEGORIES[column]) - 1 if column in schema.CATEGORIES else _OLDEST
        # What every code becomes, so that the numbers are spelled in one place.
        table = clinical_metadata.encode(pd.DataFrame({column: np.arange(schema.UNKNOWN, most + 1)}), name)
        parts.append(tf.gather(tf.constant(table), code - schema.UNKNOWN))
    return tf.concat(parts, axis=1) if parts else None


def make_module(models, image_size, fields=""):
    """Creates the module that `tf.saved_model.save` writes.

    Its function `predict` takes `image` (JPEG or PNG files of any size, string `[n]`) and, for networks with metadata,
    those of `age_approx` (int64 `[n]`, years, -1 where unknown), `sex` and `anatom_site_general_challenge` (string
    `[n]`, the schema's words, "" where unknown) that they see. It gives `prediction`, float32 `[n]`. Images are decoded
    as `decoding.decode` does, so that a record's image is predicted as in its record set. What is no such file or value
    fails with an `InvalidArgumentError` that names its place in the batch.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S in pixels of what they see.
        fields: See `clinical_metadata.parse`.

    Returns:
        `tf.Module`.
    """
    module = tf.Module()
    # The graph alone would lose them. Not the models: Keras would save its own layers too, which to load needs them.
    module.networks = [one.variables for one in models]
    columns = clinical_metadata.columns(fields)
    signature = [tf.TensorSpec([None], tf.string, "image")]
    signature += [tf.TensorSpec([None], tf.string if name in schema.CATEGORIES else tf.int64, name) for name in columns]

    @tf.function(input_signature=signature)
    def predict(image, *values):
        codes = [_read_codes(name, value) for name, value in zip(columns, values, strict=True)]
        known = encode_codes(codes, fields)
        return {"prediction": targets.mean_probability(logits(models, decode(image, image_size), known))}

    module.predict = predict
    return module


def save(models, image_size, fields, folder):
    """Writes `make_module`'s module into a folder as SavedModel; gives its size in MB."""
    module = make_module(models, image_size, fields)
    tf.saved_model.save(module, folder, signatures={"serving_default": module.predict})
    places = (folder, os.path.join(folder, "variables"))
    paths = [os.path.join(place, name) for place in places for name in filesystem.listdir(place)]
    return sum(filesystem.size(path) for path in paths if not filesystem.isdir(path)) / 1e6


def decode(files, image_size):
    """Decodes a batch of JPEG or PNG files of any size.

    Args:
        files: string `[n]`.
        image_size: Side S in pixels.

    Returns:
        uint8 `[n, S, S, 3]`.
    """

    def decode_one(numbered):
        place, file = numbered
        is_png = tf.strings.substr(file, 0, 4) == b"\x89PNG"
        problem = "expected every image to be the bytes of a JPEG or PNG file, which it is not at place (from 0)"
        with tf.control_dependencies([tf.debugging.Assert(tf.io.is_jpeg(file) | is_png, [problem, place])]):
            file = tf.identity(file)
        return tf.cond(is_png, lambda: decode_png(file), lambda: decoding.decode(file, image_size))

    def decode_png(file):
        return decoding.resize(tf.io.decode_png(file, channels=3), image_size)

    numbered = (tf.range(tf.size(files)), files)
    return tf.map_fn(decode_one, numbered, fn_output_signature=tf.TensorSpec([image_size, image_size, 3], tf.uint8))


def _read_codes(column, values):
    """Turns a field's values `[n]`, words or years, into codes int64 `[n]`; refuses what is none of them."""
    if column in schema.CATEGORIES:
        names = schema.CATEGORIES[column]
        words = tf.strings.lower(tf.strings.strip(values))
        same = words[:, tf.newaxis] == tf.constant(names)
        good = tf.reduce_any(same, axis=1) | (words == "")
        codes = tf.where(words == "", tf.constant(schema.UNKNOWN, tf.int64), tf.argmax(tf.cast(same, tf.int32), axis=1))
        wanted = f"one of {', '.join(names)}, or nothing where unknown"
    else:
        good, codes = (values >= schema.UNKNOWN) & (values <= _OLDEST), values
        wanted = f"from 0 to {_OLDEST} years, or {schema.UNKNOWN} where unknown"
    bad = tf.boolean_mask(values, ~good)
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(good), [f"expected {column} {wanted}, got", bad])]):
        return tf.identity(codes)
