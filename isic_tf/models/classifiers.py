"""The classifier: images in [0, 1], and metadata and patients if it uses them, in; logits out."""

from typing import TYPE_CHECKING

import tensorflow as tf

from isic_tf.data import clinical_metadata, targets
from isic_tf.models import backbones, patient_context_head, pooling_layers, standardization
from isic_tf.models.pretrained import weights_files

if TYPE_CHECKING:
    from isic_tf.models.config import ModelConfig


def build_from_config(config: "ModelConfig", weights: str | None = None) -> tf.keras.Model:
    """Builds the classifier that a configuration describes.

    Args:
        config: The architecture; a `TrainConfig` is one too.
        weights: See `build_classifier`; those of the configuration if None.

    Returns:
        Keras model, see `build_classifier`.

    Raises:
        IsicError: See `build_classifier`.

    Examples:
        >>> from isic_tf.models import ModelConfig
        >>> build_from_config(ModelConfig(image_size=32, weights="none", target="diagnosis")).output_shape
        (None, 9)
    """
    weights = config.weights if weights is None else weights
    return build_classifier(config.backbone, config.image_size, weights, **config.head_options())


def build_classifier(
    backbone: str,
    image_size: int,
    weights: str = "none",
    *,
    classes: targets.ClassSet = targets.BINARY,
    metadata: str = "",
    pooling: str = "gap",
    hidden_units: int = 0,
    dropout: float = 0.2,
    dropout_samples: int = 1,
    context: str = "none",
    bag_size: int = 8,
    sync_batch_norm: bool = False,
) -> tf.keras.Model:
    """Builds a classifier: normalization, backbone, pooling, metadata, hidden layer, dropout, logits.

    With `context="set"` these are the image level, whose logits `patient_context_head` corrects by the other images of
    the bag.

    Args:
        backbone: One of `backbones.BACKBONES`.
        image_size: Side S in pixels, 32 or more.
        weights: `none` (random), `imagenet`, `noisy-student`, or the path of a `.h5` file of the backbone or of a
            `.weights.h5` file of a complete classifier with the same backbone and head.
        classes: The classes to predict; none for malignant or not.
        metadata: Clinical metadata that the model receives, see `clinical_metadata.parse`.
        pooling: `gap` (global average) or `gem` (generalized mean with a learned exponent).
        hidden_units: Units of a hidden layer before the logits; 0 for none.
        dropout: Dropout rate before the logits, in [0, 1).
        dropout_samples: Number of dropout masks whose logits are averaged (Inoue 2019, arXiv:1905.09788).
        context: One of `config.CONTEXTS`.
        bag_size: Images L of a bag; b is a multiple of it.
        sync_batch_norm: Whether to synchronize batch statistics over replicas.

    Returns:
        Keras model. Input: float32 `[b, S, S, 3]`, RGB in [0, 1] (the model normalizes it), or a list of that, of
        metadata `[b, m]` (see `clinical_metadata.encode`) if it receives any, and with context of patient numbers
        `[b, 1]` (see `patient_bags.encode_patients`). Output: float32 logits `[b, 1]`, or `[b, classes]`
        for classes; with context, corrected logits of the positive classes, `[b, 1]`.

    Raises:
        ConfigError: The backbone, the image size or the weights are not supported.
        CorruptRecordError: The weights file is damaged or belongs to another model.

    Examples:
        >>> classifier = build_classifier("efficientnet-b0", 32)
        >>> classifier(tf.zeros([2, 32, 32, 3])).shape
        TensorShape([2, 1])
    """
    backbones.check(backbone, image_size)
    # Keeps the random state of dropout in variables, which checkpoints can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    is_file = weights not in backbones.WEIGHTS
    encoder = backbones.build_backbone(backbone, image_size, "none" if is_file else weights)
    if sync_batch_norm:
        _synchronize(encoder)
    inputs = [tf.keras.Input((image_size, image_size, 3), name="image")]
    feature_map = encoder(backbones.make_normalization(backbone)(inputs[0]))
    pool = tf.keras.layers.GlobalAveragePooling2D if pooling == "gap" else pooling_layers.GeneralizedMeanPooling2D
    pooled = pool(name="pooled")(feature_map)
    features = pooled
    if metadata:
        inputs.append(tf.keras.Input((clinical_metadata.width(metadata),), name="metadata"))
        known = _standardize_metadata(inputs[1], metadata)
        features = tf.keras.layers.Concatenate(name="joined")([features, _embed_metadata(known, dropout)])
    if hidden_units:
        features = tf.keras.layers.Dense(hidden_units, activation="swish", name="hidden")(features)
    features = _drop(features, dropout, dropout_samples)
    logits = tf.keras.layers.Dense(classes.num_outputs, dtype="float32", name="logits")(features)
    if context == "set":
        inputs.append(tf.keras.Input((1,), name="patient"))
        logits = patient_context_head.add_context_head(pooled, logits, inputs[-1], bag_size, classes)
    classifier = tf.keras.Model(inputs if len(inputs) > 1 else inputs[0], logits, name="classifier")
    if is_file:
        weights_files.load_weights(classifier, weights, encoder)
    return classifier


def _drop(features: tf.Tensor, rate: float, samples: int) -> tf.Tensor:
    """Applies multi-sample dropout: before a linear layer, the mean of the logits is the logits of the mean."""
    dropped = [tf.keras.layers.Dropout(rate, name=f"dropout{number or ''}")(features) for number in range(samples)]
    return tf.keras.layers.Average(name="dropouts")(dropped) if samples > 1 else dropped[0]


def _standardize_metadata(known: tf.Tensor, metadata: str) -> tf.Tensor:
    columns = len(clinical_metadata.parse_numeric(metadata))
    if not columns:
        return known
    return standardization.StandardizeLast(columns, dtype="float32", name="standardized")(known)


def _embed_metadata(known: tf.Tensor, dropout: float) -> tf.Tensor:
    layers = tf.keras.layers
    # The columns of the first layer are the embeddings of the categories and of unknown values.
    embedded = layers.Dense(64, activation="swish", name="metadata_embedding")(known)
    embedded = layers.Dropout(dropout, name="metadata_dropout")(embedded)
    return layers.Dense(32, activation="swish", name="metadata_hidden")(embedded)


def _synchronize(encoder: tf.keras.Model) -> None:
    # Networks may hold others.
    for layer in encoder.submodules:
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            # What the layer's own argument does; the constructors of the backbones do not pass it on.
            layer.synchronized = True
            layer.fused = False


def backbone_of(classifier: tf.keras.Model) -> tf.keras.Model:
    """Returns the backbone of a classifier, a Keras model."""
    return next(layer for layer in classifier.layers if isinstance(layer, tf.keras.Model))


def group_variables(classifier: tf.keras.Model, apart: bool) -> list[list[tf.Variable]]:
    """Lists the trainable variables: all in one group or, with `apart`, those of the head and those of the backbone."""
    if not apart:
        return [classifier.trainable_variables]
    of_backbone = {variable.ref() for variable in backbone_of(classifier).trainable_variables}
    head = [variable for variable in classifier.trainable_variables if variable.ref() not in of_backbone]
    backbone = [variable for variable in classifier.trainable_variables if variable.ref() in of_backbone]
    return [head, backbone]
