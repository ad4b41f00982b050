"""The classifier: images in [0, 1], and metadata and patients if it sees them, in; logits out."""

import numpy as np
import tensorflow as tf

from isic_tf import augment, backbones, devices, patient_context, targets
from isic_tf import metadata as fields

POOLINGS = ("gap", "gem")
# What a run's flags say of its classifier, and of which type.
_OPTIONS = {
    "target": str,
    "metadata": str,
    "pooling": str,
    "hidden_units": int,
    "dropout": float,
    "dropout_samples": int,
    "context": str,
    "bag_size": int,
}


def options(flags):
    """Gives the keyword arguments of `build` that are among a run's flags, whose values may be text."""
    return {name: kind(flags[name]) for name, kind in _OPTIONS.items() if name in flags}


def build(
    backbone,
    image_size,
    weights="none",
    *,
    target="binary",
    metadata="",
    pooling="gap",
    hidden_units=0,
    dropout=0.2,
    dropout_samples=1,
    context="none",
    bag_size=8,
    sync_batch_norm=False,
):
    """Builds a classifier: normalisation, backbone, pooling, metadata beside it, a hidden layer, dropout, logits.

    With `context="set"` these are stage one, and `patient_context` corrects its logits by the others in the bag.

    Args:
        backbone: One of `backbones.BACKBONES`.
        image_size: Side S in pixels, 32 or more.
        weights: `none` (random), `imagenet`, `noisy-student`, or the path of a backbone's `.h5` file or of a whole
            classifier's `.weights.h5` file of the same backbone and head.
        target: One of `targets.TARGETS`.
        metadata: Fields that the network sees too, see `metadata.parse`.
        pooling: `gap` (the mean over the image) or `gem` (generalised mean of a learned power: Radenović, Tolias and
            Chum, PAMI 2019).
        hidden_units: Units of a layer before the logits; 0 for none.
        dropout: Share of features dropped before the logits in training.
        dropout_samples: Number of dropouts of which the logits are the mean (Inoue 2019, arXiv:1905.09788).
        context: One of `patient_context.CONTEXTS`.
        bag_size: Images L of a bag, see `bags`; b is a multiple of it.
        sync_batch_norm: Whether batch statistics are those of all replicas together.

    Returns:
        Keras model from float32 `[b, S, S, 3]`, RGB in [0, 1] (it normalises them itself), or a list of that, of
        `metadata.encode`'s `[b, m]` where it sees metadata, and with context of the patients' numbers `[b, 1]`, see
        `bags.patient_codes`; to float32 logits `[b, 1]` or `[b, 9]`, with context malignant ones `[b, 1]`.

    Raises:
        ValueError: Unknown backbone, an image size that is no whole number from 32, or weights that cannot be had.
    """
    backbones.check(backbone, image_size)
    # Dropout's random state in variables, which checkpoints can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    layers = tf.keras.layers
    trunk = backbones.build(backbone, image_size, weights if weights in backbones.WEIGHTS else "none")
    if sync_batch_norm:
        _synchronize(trunk)
    inputs = [tf.keras.Input((image_size, image_size, 3), name="image")]
    features = trunk(backbones.make_normalization(backbone)(inputs[0]))
    pool = layers.GlobalAveragePooling2D if pooling == "gap" else GeneralizedMeanPooling2D
    features = pooled = pool(name="pooled")(features)
    if metadata:
        inputs.append(tf.keras.Input((fields.width(metadata),), name="metadata"))
        features = layers.Concatenate(name="joined")([features, _embed(inputs[1], dropout)])
    if hidden_units:
        features = layers.Dense(hidden_units, activation="swish", name="hidden")(features)
    # All samples share one layer; before a linear one the mean of the logits is that of what is left.
    dropped = [layers.Dropout(dropout, name=f"dropout{number or ''}")(features) for number in range(dropout_samples)]
    dropped = layers.Average(name="dropouts")(dropped) if dropout_samples > 1 else dropped[0]
    logits = layers.Dense(targets.count_outputs(target), dtype="float32", name="logits")(dropped)
    if context == "set":
        inputs.append(tf.keras.Input((1,), name="patient"))
        logits = patient_context.add(pooled, logits, inputs[-1], bag_size)
    classifier = tf.keras.Model(inputs if len(inputs) > 1 else inputs[0], logits, name="classifier")
    if weights not in backbones.WEIGHTS:
        backbones.load_weights(classifier if weights.endswith(".weights.h5") else trunk, weights)
    return classifier


def _embed(known, dropout):
    layers = tf.keras.layers
    # The first layer's columns are the embeddings of the categories and of what is unknown.
    embedded = layers.Dense(64, activation="swish", name="metadata_embedding")(known)
    embedded = layers.Dropout(dropout, name="metadata_dropout")(embedded)
    return layers.Dense(32, activation="swish", name="metadata_hidden")(embedded)


def _synchronize(trunk):
    for layer in trunk.layers:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            # As the layer's own argument does, which the makers of the backbones do not pass on.
            layer.synchronized, layer.fused = True, False


class GeneralizedMeanPooling2D(tf.keras.layers.Layer):
    """The mean over the image of features to a learned power of at least 1, and its root; 3 at first."""

    def build(self, input_shape):
        """Creates the power."""
        self.power = self.add_weight("power", (), initializer=tf.keras.initializers.Constant(3.0))

    def call(self, features):
        """Pools `[b, h, w, f]` to `[b, f]`."""
        # In half precision a cube of small features would be 0.
        # As a maximum, TensorFlow Lite's XNNPACK (of TensorFlow 2.21) could not prepare it.
        positive = -tf.minimum(-tf.cast(features, tf.float32), -1e-6)
        power = tf.maximum(tf.cast(self.power, tf.float32), 1.0)
        pooled = tf.reduce_mean(positive**power, axis=[1, 2]) ** (1 / power)
        return tf.cast(pooled, self.compute_dtype)


def trunk_of(classifier):
    """Gives a classifier's backbone, a Keras model of its own."""
    return next(layer for layer in classifier.layers if isinstance(layer, tf.keras.Model))


def group_variables(classifier, apart):
    """Lists the variables in training: all in one group, or where `apart` the head's and the backbone's."""
    if not apart:
        return [classifier.trainable_variables]
    trunk = {variable.ref() for variable in trunk_of(classifier).trainable_variables}
    groups = [[], []]
    for variable in classifier.trainable_variables:
        groups[variable.ref() in trunk].append(variable)
    return groups


def make_predictor(models, strategy, view=None, count=1, embed=""):
    """Creates the function that predicts an evaluation dataset; its graph is traced once.

    Args:
        models: Classifiers created in the strategy's scope; their malignant probabilities are averaged. Of one with
            context, the stage that sees a single image.
        strategy: `tf.distribute.Strategy`.
        view: See `views.make_views`; None for the images as they are.
        count: Versions of each image, whose probabilities are averaged.
        embed: Name of a layer whose output `[b, f]` to give too, as `pooled`, the pooled features, or
            `patient_context.SEEN`; "" for none.

    Returns:
        Function from a dataset (see `pipeline.eval_dataset`; its batch divides by the number of this process's
        replicas) to an iterator of names (list of text), probabilities (float32 `[n]`) and, where `embed`, each
        model's output of that layer averaged over the versions (float32 `[n, models, f]`), a batch at a time, in the
        dataset's order.
    """
    replicas = devices.local_replicas(strategy)
    embedded = [one.get_layer(embed).output for one in models if embed]
    models = [patient_context.stage_one(one) for one in models]
    if embed:
        # One pass gives both.
        models = [tf.keras.Model(one.inputs, [one.output, own]) for one, own in zip(models, embedded, strict=True)]

    def outputs_of(images, known):
        """Gives the mean probability `[b]` and the features `[b, models, f]` (f = 0 for none) of one version."""
        found = [one([images, *known] if known else images, training=False) for one in models]
        logits, features = zip(*found, strict=True) if embed else (found, None)
        probabilities = targets.mean_probability(logits)
        if not embed:
            return probabilities, tf.zeros([len(probabilities), len(models), 0])
        return probabilities, tf.cast(tf.stack(features, axis=1), tf.float32)

    def replica_outputs(inputs):
        images, *known, keys = inputs
        if view is None:
            return outputs_of(augment.as_float(images), known)
        first, second = outputs_of(view(images, keys, tf.constant(0)), known)
        # A loop of the graph: the network is in it once more, not once for each version.
        for number in tf.range(1, count):
            more = outputs_of(view(images, keys, number), known)
            first, second = first + more[0], second + more[1]
        return first / count, second / count

    @tf.function
    def outputs(inputs):
        return [strategy.experimental_local_results(part) for part in strategy.run(replica_outputs, args=(inputs,))]

    def predict(dataset):
        for *inputs, names in dataset:
            # Names are text and stay on the host; what is drawn by them is drawn by their hash.
            inputs.append(tf.strings.to_hash_bucket_fast(names, 2**62))
            shares = list(zip(*(tf.split(part, replicas) for part in inputs), strict=True))
            given = strategy.experimental_distribute_values_from_function(
                lambda context, shares=shares: shares[context.replica_id_in_sync_group % replicas]
            )
            named = names.numpy() != b""
            probabilities, features = (np.concatenate(part)[named] for part in outputs(given))
            texts = [name.decode() for name in names.numpy()[named]]
            yield (texts, probabilities, features) if embed else (texts, probabilities)

    return predict
