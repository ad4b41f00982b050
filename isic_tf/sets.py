"""A patient's lesions judged together by a small network that sees them as a set, whatever their number and order."""

import tensorflow as tf

# Below a hundredth of a unit of the features, lesions count as alike; keeps logarithm and quotient finite.
_EPSILON = 1e-4


def build(dim, units=64, heads=4, blocks=2, dropout=0.1):
    """Builds the network: what each lesion is and how it departs from the patient's others, then set attention.

    The blocks are those of the Set Transformer (Lee et al., ICML 2019), with normalisation first. All of it is computed
    in float32 whatever the precision policy; an untrained network gives the logits it is given.

    Args:
        dim: Number of features d of a lesion.
        units: Width of the blocks, a multiple of `heads`.
        heads: Heads of the attention, and learned measures of distance.
        blocks: Number of attention blocks.
        dropout: Share dropped in training, of attention weights and of what a block adds.

    Returns:
        Keras model from a list of float32 `[B, L, d]` features (a lesion a row), float32 or bool `[B, L]` mask (1 for a
        lesion, 0 for padding, whose features and logits are not read) and float32 `[B, L, 1]` logits of stage one, to
        float32 `[B, L, 1]` logits: those of stage one plus a correction, which is 0 for a patient with one lesion.

    Raises:
        ValueError: The units cannot be shared among the heads.
    """
    if units % heads:
        raise ValueError(f"expected units in equal parts for {heads} heads, got {units}; give a multiple of {heads}")
    # Dropout's random state in variables, which checkpoints can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    layers, options = tf.keras.layers, {"dtype": "float32"}
    features = tf.keras.Input((None, dim), name="features", **options)
    mask = tf.keras.Input((None,), name="mask", **options)
    logits = tf.keras.Input((None, 1), name="logits", **options)
    seen = Departure(heads, units // heads, name="departure", **options)([features, mask, logits])
    hidden = layers.Dense(units, name="embedding", **options)(seen)
    for number in range(blocks):
        name = f"block{number}"
        normed = layers.LayerNormalization(name=f"{name}_norm", **options)(hidden)
        attention = layers.MultiHeadAttention(heads, units // heads, dropout=dropout, name=f"{name}_heads", **options)
        # [B, 1, L]: each lesion attends to every lesion and to no padding.
        attended = attention(normed, normed, attention_mask=mask[:, None, :] > 0)
        hidden += layers.Dropout(dropout, name=f"{name}_heads_dropout", **options)(attended)
        normed = layers.LayerNormalization(name=f"{name}_dense_norm", **options)(hidden)
        wide = layers.Dense(2 * units, activation="swish", name=f"{name}_wide", **options)(normed)
        narrow = layers.Dense(units, name=f"{name}_narrow", **options)(wide)
        hidden += layers.Dropout(dropout, name=f"{name}_dropout", **options)(narrow)
    normed = layers.LayerNormalization(name="norm", **options)(hidden)
    correction = layers.Dense(1, kernel_initializer="zeros", name="correction", **options)(normed)
    corrected = Correction(name="corrected", **options)([logits, correction, mask])
    return tf.keras.Model([features, mask, logits], corrected, name="set")


class Departure(tf.keras.layers.Layer):
    """Puts beside a lesion's features and logit how it departs from the others of its patient.

    A network of this size does not learn distances from few malignant lesions, so it is given them: the plain one and
    `heads` learned ones, each the length of a linear projection (Mahalanobis), and the patient's mean of each.
    """

    def __init__(self, heads, size, **options):
        """Takes the number of learned distances and the dimensions of each one's projection."""
        super().__init__(**options)
        self.heads, self.size = heads, size

    def build(self, input_shape):
        """Creates the projections."""
        shape = (input_shape[0][-1], self.heads * self.size)
        self.projection = self.add_weight("projection", shape, initializer="glorot_uniform")

    def call(self, inputs):
        """Joins features and departures: `[B, L, d]`, `[B, L]` and `[B, L, 1]` to `[B, L, 2 d + 2 heads + 4]`."""
        features, mask, logits = inputs
        mask = mask[..., None]
        count = tf.maximum(tf.reduce_sum(mask, axis=1, keepdims=True), 1.0)
        features, logits = tf.where(mask > 0, features, 0.0), tf.where(mask > 0, logits, 0.0)
        others = count / tf.maximum(count - 1, 1.0)
        # From the mean of the other lesions: n / (n - 1) times as far as from the mean of all.
        departures, gaps = (_centre(values, mask, count) * others for values in (features, logits))
        squares = [tf.reduce_mean(departures**2, axis=-1, keepdims=True), self._learned(departures)]
        squares = tf.concat(squares, axis=-1)
        spreads = tf.reduce_sum(squares, axis=1, keepdims=True) / count
        directions = departures / tf.sqrt(spreads[..., :1] + _EPSILON)
        scales = [0.5 * tf.math.log(values + _EPSILON) for values in (squares, spreads)]
        scales[1] = tf.broadcast_to(scales[1], tf.shape(scales[0]))
        return tf.concat([features, directions, *scales, logits, gaps], axis=-1)

    def _learned(self, departures):
        shape = tf.shape(departures)
        projected = tf.reshape(departures @ self.projection, [shape[0], shape[1], self.heads, self.size])
        return tf.reduce_mean(projected**2, axis=-1)

    def get_config(self):
        """Gives the arguments of the constructor."""
        return {**super().get_config(), "heads": self.heads, "size": self.size}


def _centre(values, mask, count):
    # Twice: what rounding leaves of the first mean, which depends on the order, is gone after the second.
    for _ in range(2):
        values = (values - tf.reduce_sum(values, axis=1, keepdims=True) / count) * mask
    return values


class Correction(tf.keras.layers.Layer):
    """Adds a correction to the logits of lesions that have others beside them."""

    def call(self, inputs):
        """Adds `[B, L, 1]` to `[B, L, 1]` where the mask `[B, L]` has two lesions or more."""
        logits, correction, mask = inputs
        several = tf.reduce_sum(mask, axis=1, keepdims=True) > 1
        return logits + tf.where(several & (mask > 0), 1.0, 0.0)[..., None] * correction
