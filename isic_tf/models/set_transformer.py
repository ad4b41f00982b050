"""The set transformer: a small network over all lesions of a patient, whatever their number and order."""

from typing import Any

import tensorflow as tf

from tfrecord_tools import errors

# Differences below a hundredth of a unit of the features count as none; keeps logarithm and quotient finite.
_EPSILON = 1e-4
# Subtracted from the attention to padding; a real infinity would give NaN where there is only padding.
_FAR = 1e9


def build_set_transformer(
    dim: int, units: int = 64, heads: int = 4, blocks: int = 2, dropout: float = 0.1
) -> tf.keras.Model:
    """Builds the network: each lesion and how it departs from the patient's other lesions, then set attention.

    The blocks are those of the Set Transformer (Lee et al., ICML 2019), with normalization first. All of it is computed
    in float32, whatever the precision policy. An untrained network returns its input logits.

    Args:
        dim: Number of features d of a lesion.
        units: Width of the blocks, a multiple of `heads`.
        heads: Number of attention heads, and of learned distance measures.
        blocks: Number of attention blocks.
        dropout: Dropout rate in training, of attention weights and of the output of each block.

    Returns:
        Keras model from a list of float32 `[B, L, d]` features (one lesion per row), float32 or bool `[B, L]` mask (1
        for a lesion, 0 for padding, whose features and logits are not read) and float32 `[B, L, 1]` image-level logits,
        to float32 `[B, L, 1]` logits: the image-level ones plus a correction, which is 0 for a patient with one lesion.

    Raises:
        ConfigError: The number of units is not a multiple of the number of heads.
    """
    if units % heads:
        nearest = heads * max(1, units // heads)
        raise errors.ConfigError(
            f"expected units to be a multiple of {heads} heads, got {units}; for example {nearest}"
        )
    # Keeps the random state of dropout in variables, which checkpoints can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    layers = tf.keras.layers
    options = {"dtype": "float32"}
    features = tf.keras.Input((None, dim), name="features", **options)
    mask = tf.keras.Input((None,), name="mask", **options)
    logits = tf.keras.Input((None, 1), name="logits", **options)
    seen = Departure(heads, units // heads, name="departure", **options)([features, mask, logits])
    hidden = layers.Dense(units, name="embedding", **options)(seen)
    for number in range(blocks):
        name = f"block{number}"
        normed = layers.LayerNormalization(name=f"{name}_norm", **options)(hidden)
        attended = Attention(heads, dropout, name=f"{name}_heads", **options)([normed, mask])
        hidden += layers.Dropout(dropout, name=f"{name}_heads_dropout", **options)(attended)
        normed = layers.LayerNormalization(name=f"{name}_dense_norm", **options)(hidden)
        wide = layers.Dense(2 * units, activation="swish", name=f"{name}_wide", **options)(normed)
        narrow = layers.Dense(units, name=f"{name}_narrow", **options)(wide)
        hidden += layers.Dropout(dropout, name=f"{name}_dropout", **options)(narrow)
    normed = layers.LayerNormalization(name="norm", **options)(hidden)
    correction = layers.Dense(1, kernel_initializer="zeros", name="dense_correction", **options)(normed)
    correction = Gate(name="correction", **options)([correction, mask])
    corrected = layers.Add(name="corrected", **options)([logits, correction])
    return tf.keras.Model([features, mask, logits], corrected, name="set")


class Departure(tf.keras.layers.Layer):
    """Appends to the features and logit of a lesion how it departs from the patient's other lesions.

    A network of this size does not learn distances from few malignant lesions, so they are computed for it: the
    Euclidean one and `heads` learned ones, each the length of a linear projection (Mahalanobis), the patient's mean of
    each, how far the logit is below the patient's highest, and the number of lesions, which means over a set hide.
    """

    def __init__(self, heads: int, size: int, **options: Any) -> None:
        """Sets the number of learned distances and the dimensions of each projection."""
        super().__init__(**options)
        self.heads = heads
        self.size = size

    def build(self, input_shape: list[tf.TensorShape]) -> None:
        """Creates the projections."""
        shape = (input_shape[0][-1], self.heads * self.size)
        self.projection = self.add_weight("projection", shape, initializer="glorot_uniform")

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Joins features and departures: `[B, L, d]`, `[B, L]` and `[B, L, 1]` to `[B, L, 2 d + 2 heads + 6]`."""
        features, mask, logits = inputs
        mask = mask[..., None]
        count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        features = tf.where(mask > 0, features, 0.0)
        logits = tf.where(mask > 0, logits, 0.0)
        others = count / tf.maximum(count - 1, 1.0)
        # From the mean of the other lesions: n / (n - 1) times as far as from the mean of all.
        departures = _center(features, mask, count) * others
        gaps = _center(logits, mask, count) * others
        euclidean = tf.reduce_mean(departures**2, axis=-1, keepdims=True)
        squares = tf.concat([euclidean, self._learned(departures)], axis=-1)
        spreads = tf.reduce_sum(squares, axis=1, keepdims=True) / count
        directions = departures / tf.sqrt(spreads[..., :1] + _EPSILON)
        own_scale = 0.5 * tf.math.log(squares + _EPSILON)
        mean_scale = 0.5 * tf.math.log(spreads + _EPSILON)
        # Broadcast by a sum, since the gradient of broadcast_to needs shapes, which a TPU does not take.
        mean_scale += tf.zeros_like(squares)
        below = (tf.reduce_max(tf.where(mask > 0, logits, -_FAR), axis=1, keepdims=True) - logits) * mask
        size = tf.math.log(count) * mask
        return tf.concat([features, directions, own_scale, mean_scale, logits, gaps, below, size], axis=-1)

    def _learned(self, departures: tf.Tensor) -> tf.Tensor:
        shape = tf.shape(departures)
        # As one matrix: the gradient of a batch of matrices needs shapes in the step, which a TPU does not take.
        projected = tf.reshape(departures, [-1, departures.shape[-1]]) @ self.projection
        projected = tf.reshape(projected, [shape[0], shape[1], self.heads, self.size])
        return tf.reduce_mean(projected**2, axis=-1)

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "heads": self.heads, "size": self.size}


def _center(values: tf.Tensor, mask: tf.Tensor, count: tf.Tensor) -> tf.Tensor:
    # Twice: the rounding error of the first mean, which depends on the order, is gone after the second.
    for _ in range(2):
        values = (values - tf.reduce_sum(values, axis=1, keepdims=True) / count) * mask
    return values


class Attention(tf.keras.layers.Layer):
    """Attends from each lesion to all lesions of its set (Vaswani et al. 2017), with one projection.

    Keras's own `MultiHeadAttention` needs twice the operations, so that tracing a graph per padded length takes long.
    """

    def __init__(self, heads: int, dropout: float, **options: Any) -> None:
        """Sets the number of heads and the dropout rate of the attention weights."""
        super().__init__(**options)
        self.heads = heads
        self.dropout = dropout

    def build(self, input_shape: list[tf.TensorShape]) -> None:
        """Creates the projections to queries, keys and values and back."""
        units = input_shape[0][-1]
        self.project = tf.keras.layers.Dense(3 * units, dtype=self.dtype, name="project")
        self.join = tf.keras.layers.Dense(units, dtype=self.dtype, name="join")
        self.drop = tf.keras.layers.Dropout(self.dropout, dtype=self.dtype)
        self.project.build(input_shape[0])
        self.join.build(input_shape[0])

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor], training: bool | None = None) -> tf.Tensor:
        """Maps `[B, L, u]` and the mask `[B, L]` to `[B, L, u]`."""
        hidden, mask = inputs
        shape = tf.shape(hidden)
        units = hidden.shape[-1]
        parts = tf.reshape(self.project(hidden), [shape[0], shape[1], 3, self.heads, units // self.heads])
        queries, keys, values = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
        scores = tf.matmul(queries * (units // self.heads) ** -0.5, keys, transpose_b=True)
        # A set of only padding attends to it evenly, which gives no NaN.
        weights = tf.nn.softmax(scores + (mask[:, None, None, :] - 1) * _FAR)
        attended = tf.matmul(self.drop(weights, training=training), values)
        return self.join(tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), shape))

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments of the constructor."""
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


class Gate(tf.keras.layers.Layer):
    """Passes the correction of lesions whose patient has other lesions."""

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Returns the correction `[B, L, 1]` where the mask `[B, L]` has two lesions or more, and 0 elsewhere."""
        correction, mask = inputs
        several = tf.reduce_sum(mask, axis=1, keepdims=True) > 1
        return tf.where((several & (mask > 0))[..., None], correction, 0.0)
