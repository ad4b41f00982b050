"""Clinical metadata in a TensorFlow graph: from the words and numbers that a client sends to inputs of a network."""

import re
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import clinical_metadata
from tfrecord_tools import schema

# Highest age in the table of the graph, in years; `clinical_metadata.encode` accepts the same ages.
_MAX_AGE = 120


def list_signature(fields: str) -> list[tf.TensorSpec]:
    """Lists the inputs of an exported model besides the image.

    Args:
        fields: See `clinical_metadata.parse`.

    Returns:
        Specs of tensors `[n]`: string for categories, int64 for ages, float32 for numeric columns.

    Examples:
        >>> [(spec.name, spec.dtype.name) for spec in list_signature("age,sex")]
        [('age_approx', 'int64'), ('sex', 'string')]
    """
    kinds = {name: tf.string if name in schema.CATEGORIES else tf.int64 for name in clinical_metadata.columns(fields)}
    kinds |= dict.fromkeys(list_inputs(fields), tf.float32)
    return [tf.TensorSpec([None], kind, name) for name, kind in kinds.items()]


def encode_values(values: Sequence[tf.Tensor], fields: str) -> tf.Tensor | None:
    """Encodes what a client sends; a value that the schema does not know fails with an `InvalidArgumentError`.

    Args:
        values: Tensors `[n]`, see `list_signature`.
        fields: See `clinical_metadata.parse`.

    Returns:
        float32 `[n, m]`, see `clinical_metadata.encode`; None where there are no fields.
    """
    columns = clinical_metadata.columns(fields)
    numeric = list_inputs(fields)
    codes = [read_codes(name, value) for name, value in zip(columns, values, strict=False)]
    numbers = [read_numbers(*pair) for pair in zip(numeric, values[len(columns) :], strict=True)]
    known = encode_codes(codes, fields)
    parts = [*([] if known is None else [known]), *encode_numbers(numbers)]
    return tf.concat(parts, axis=1) if parts else None


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


def read_codes(column: str, values: tf.Tensor) -> tf.Tensor:
    """Reads what a client sends of a field of the schema; any other value fails with an `InvalidArgumentError`.

    Args:
        column: Name of the field, such as `sex`.
        values: Words, string `[n]`, or years, int64 `[n]`.

    Returns:
        Codes, int64 `[n]`, -1 where unknown.

    Examples:
        >>> read_codes("sex", tf.constant(["Female", ""])).numpy().tolist()
        [1, -1]
    """
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


def read_numbers(name: str, values: tf.Tensor) -> tf.Tensor:
    """Reads what a client sends of a numeric column; an infinite number fails with an `InvalidArgumentError`.

    Args:
        name: Name of the column.
        values: Float `[n]`, NaN where unknown; the networks compute with float32.

    Returns:
        The values.

    Examples:
        >>> read_numbers("area", tf.constant([2.5])).numpy().tolist()
        [2.5]
    """
    is_infinite = tf.math.is_inf(tf.cast(values, tf.float32))
    problem = [f"expected {name} to be a number, or NaN where unknown, got", tf.boolean_mask(values, is_infinite)]
    with tf.control_dependencies([tf.debugging.Assert(~tf.reduce_any(is_infinite), problem)]):
        return tf.identity(values)


def list_values(rows: pd.DataFrame, specs: Sequence[tf.TensorSpec], fields: str) -> dict[str, tf.Tensor]:
    """Lists what a client sends besides the images.

    Args:
        rows: See `exported_predictions.read_rows`.
        specs: The inputs of the signature besides the images, see `list_signature`.
        fields: The fields that they are of, see `clinical_metadata.parse`.

    Returns:
        Dict from the name of an input to its values `[n]`: words, years as they are, and numbers.

    Examples:
        >>> found = list_values(pd.DataFrame({"sex": [1, -1]}), list_signature("sex"), "sex")
        >>> found["sex"].numpy().tolist()
        [b'female', b'']
    """
    numbers = clinical_metadata.select_values(rows, clinical_metadata.parse_numeric(fields)).T
    columns = [_as_words(name, rows[name]) for name in clinical_metadata.columns(fields)]
    return {spec.name: tf.constant(own, spec.dtype) for spec, own in zip(specs, [*columns, *numbers], strict=True)}


def _as_words(column: str, codes: pd.Series) -> list[str] | np.ndarray:
    if column not in schema.CATEGORIES:
        return codes.to_numpy()
    return [(*schema.CATEGORIES[column], "")[code] for code in codes]
