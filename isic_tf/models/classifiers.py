"""The classifier: images in [0, 1], and metadata and patients if it sees them, in; logits out."""

import tensorflow as tf

from isic_tf.data import clinical_metadata, targets
from isic_tf.models import backbones, patient_context_head, pooling_layers


def build_from_config(config, weights=None):
    """Builds the classifier that a configuration describes.

    Args:
        config: `models.config.ModelConfig`.
        weights: See `build_classifier`; those of the configuration if None.

    Returns:
        Keras model, see `build_classifier`.
    """
    weights = config.weights if weights is None else weights
    return build_classifier(config.backbone, config.image_size, weights, **config.head_options())


def build_classifier(
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
        metadata: Fields that the network sees too, see `clinical_metadata.parse`.
        pooling: `gap` (the mean over the image) or `gem` (generalised mean of a learned power: Radenović, Tolias and
            Chum, PAMI 2019).
        hidden_units: Units of a layer before the logits; 0 for none.
        dropout: Share of features dropped before the logits in training.
        dropout_samples: Number of dropouts of which the logits are the mean (Inoue 2019, arXiv:1905.09788).
        context: One of `patient_context_head.CONTEXTS`.
        bag_size: Images L of a bag, see `bags`; b is a multiple of it.
        sync_batch_norm: Whether batch statistics are those of all replicas together.

    Returns:
        Keras model from float32 `[b, S, S, 3]`, RGB in [0, 1] (it normalises them itself), or a list of that, of
        `clinical_metadata.encode`'s `[b, m]` where it sees metadata, and with context of the patients' numbers `[b, 1]`, see
        `patient_bags.encode_patients`; to float32 logits `[b, 1]` or `[b, 9]`, with context malignant ones `[b, 1]`.

    Raises:
        ValueError: Unknown backbone, an image size that is no whole number from 32, or weights that cannot be had.
    """
    backbones.check(backbone, image_size)
    # Dropout's random state in variables, which checkpoints can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    layers = tf.keras.layers
    trunk = backbones.build_backbone(backbone, image_size, weights if weights in backbones.WEIGHTS else "none")
    if sync_batch_norm:
        _synchronize(trunk)
    inputs = [tf.keras.Input((image_size, image_size, 3), name="image")]
    features = trunk(backbones.make_normalization(backbone)(inputs[0]))
    pool = layers.GlobalAveragePooling2D if pooling == "gap" else pooling_layers.GeneralizedMeanPooling2D
    features = pooled = pool(name="pooled")(features)
    if metadata:
        inputs.append(tf.keras.Input((clinical_metadata.width(metadata),), name="metadata"))
        features = layers.Concatenate(name="joined")([features, _embed(inputs[1], dropout)])
    if hidden_units:
        features = layers.Dense(hidden_units, activation="swish", name="hidden")(features)
    # All samples share one layer; before a linear one the mean of the logits is that of what is left.
    dropped = [layers.Dropout(dropout, name=f"dropout{number or ''}")(features) for number in range(dropout_samples)]
    dropped = layers.Average(name="dropouts")(dropped) if dropout_samples > 1 else dropped[0]
    logits = layers.Dense(targets.count_outputs(target), dtype="float32", name="logits")(dropped)
    if context == "set":
        inputs.append(tf.keras.Input((1,), name="patient"))
        logits = patient_context_head.add(pooled, logits, inputs[-1], bag_size)
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


def backbone_of(classifier):
    """Gives a classifier's backbone, a Keras model of its own."""
    return next(layer for layer in classifier.layers if isinstance(layer, tf.keras.Model))


def group_variables(classifier, apart):
    """Lists the variables in training: all in one group, or where `apart` the head's and the backbone's."""
    if not apart:
        return [classifier.trainable_variables]
    trunk = {variable.ref() for variable in backbone_of(classifier).trainable_variables}
    groups = [[], []]
    for variable in classifier.trainable_variables:
        groups[variable.ref() in trunk].append(variable)
    return groups
