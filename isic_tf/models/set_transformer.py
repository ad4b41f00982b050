"""A small network that sees a patient's lesions as a set, whatever their number and order."""

import tensorflow as tf

from tfrecord_tools import errors

# Below a hundredth of a unit of the features, lesions count as alike; keeps logarithm and quotient finite.
_EPSILON = 1e-4
# Of the attention to padding; a real infinity would be no number where there is nothing else.
_FAR = 1e9


def build_set_transformer(dim, units=64, heads=4, blocks=2, dropout=0.1):
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
        IsicError: The units cannot be shared among the heads.
    """
    if units % heads:
        raise errors.IsicError(
            f"expected units in equal parts for {heads} heads, got {units}; give a multiple of {heads}"
        )
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
    """Puts beside a lesion's features and logit how it departs from the others of its patient.

    A network of this size does not learn distances from few malignant lesions, so it is given them: the plain one and
    `heads` learned ones, each the length of a linear projection (Mahalanobis), the patient's mean of each, how far the
    logit is below the patient's highest, and the number of lesions, which means of a set do not show.
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
        """Joins features and departures: `[B, L, d]`, `[B, L]` and `[B, L, 1]` to `[B, L, 2 d + 2 heads + 6]`."""
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
        # By a sum, since the gradient of broadcast_to asks for shapes too.
        scales[1] += tf.zeros_like(squares)
        below = (tf.reduce_max(tf.where(mask > 0, logits, -_FAR), axis=1, keepdims=True) - logits) * mask
        size = tf.math.log(count) * mask
        return tf.concat([features, directions, *scales, logits, gaps, below, size], axis=-1)

    def _learned(self, departures):
        shape = tf.shape(departures)
        # As one matrix: the gradient of a batch of them asks for shapes in the step, which a TPU does not take.
        projected = tf.reshape(departures, [-1, departures.shape[-1]]) @ self.projection
        projected = tf.reshape(projected, [shape[0], shape[1], self.heads, self.size])
        return tf.reduce_mean(projected**2, axis=-1)

    def get_config(self):
        """Gives the arguments of the constructor."""
        return {**super().get_config(), "heads": self.heads, "size": self.size}


def _centre(values, mask, count):
    # Twice: what rounding leaves of the first mean, which depends on the order, is gone after the second.
    for _ in range(2):
        values = (values - tf.reduce_sum(values, axis=1, keepdims=True) / count) * mask
    return values


class Attention(tf.keras.layers.Layer):
    """Attends from each lesion to all of its set (Vaswani et al. 2017), with one product for all that a lesion asks.

    Keras's own `MultiHeadAttention` takes twice the operations, so that a graph for each padded length takes long.
    """

    def __init__(self, heads, dropout, **options):
        """Takes the number of heads and the share of attention weights dropped in training."""
        super().__init__(**options)
        self.heads, self.dropout = heads, dropout

    def build(self, input_shape):
        """Creates the projections to queries, keys and values and back."""
        units = input_shape[0][-1]
        self.project = tf.keras.layers.Dense(3 * units, dtype=self.dtype, name="project")
        self.join = tf.keras.layers.Dense(units, dtype=self.dtype, name="join")
        self.drop = tf.keras.layers.Dropout(self.dropout, dtype=self.dtype)
        self.project.build(input_shape[0])
        self.join.build(input_shape[0])

    def call(self, inputs, training=None):
        """Turns `[B, L, u]` and the mask `[B, L]` into `[B, L, u]`."""
        hidden, mask = inputs
        shape, units = tf.shape(hidden), hidden.shape[-1]
        parts = tf.reshape(self.project(hidden), [shape[0], shape[1], 3, self.heads, units // self.heads])
        queries, keys, values = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]))
        scores = tf.matmul(queries * (units // self.heads) ** -0.5, keys, transpose_b=True)
        # A set of padding alone attends to it evenly, and to no NaN.
        weights = tf.nn.softmax(scores + (mask[:, None, None, :] - 1) * _FAR)
        attended = tf.matmul(self.drop(weights, training=training), values)
        return self.join(tf.reshape(tf.transpose(attended, [0, 2, 1, 3]), shape))

    def get_config(self):
        """Gives the arguments of the constructor."""
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


class Gate(tf.keras.layers.Layer):
    """Lets a correction pass for lesions that have others beside them."""

    def call(self, inputs):
        """Gives the correction `[B, L, 1]` where the mask `[B, L]` has two lesions or more, and 0 elsewhere."""
        correction, mask = inputs
        several = tf.reduce_sum(mask, axis=1, keepdims=True) > 1
        return tf.where((several & (mask > 0))[..., None], correction, 0.0)
