"""The classifier: images in [0, 1] in, one logit an image out."""

import os
import tempfile

import efficientnet.model
import numpy as np
import tensorflow as tf

from isic_tf import augment, devices

# The statistics of ImageNet in [0, 1], RGB: what the weights of `efficientnet` were trained with ('torch' mode).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
BACKBONES = tuple(f"efficientnet-b{number}" for number in range(8))
WEIGHTS = ("none", "imagenet", "noisy-student")


def build(backbone, image_size, weights="none", dropout=0.2):
    """Builds a classifier: normalisation, backbone, global average pooling, dropout, one logit.

    EfficientNet: Tan and Le, ICML 2019, as in the package `efficientnet`; noisy student: Xie et al., CVPR 2020.

    Args:
        backbone: One of `BACKBONES`.
        image_size: Side S in pixels, 32 or more.
        weights: `none` (random), `imagenet`, `noisy-student`, or the path of a backbone's `.h5` file or of a whole
            classifier's `.weights.h5` file of the same backbone.
        dropout: Share of pooled features dropped in training.

    Returns:
        Keras model from float32 `[b, S, S, 3]`, RGB in [0, 1] (it normalises them itself), to float32 logits `[b, 1]`.

    Raises:
        ValueError: Unknown backbone, an image size that is no whole number from 32, or weights that cannot be had.
    """
    if backbone not in BACKBONES:
        raise ValueError(f"expected a backbone of {', '.join(BACKBONES)}, got {backbone!r}")
    if not isinstance(image_size, int) or image_size < 32:
        raise ValueError(f"expected an image size in whole pixels from 32, got {image_size!r}")
    # Dropout's random state in variables, which checkpoints can hold.
    tf.keras.backend.experimental.enable_tf_random_generator()
    images = tf.keras.Input((image_size, image_size, 3), name="image")
    scale = tf.keras.layers.Rescaling(
        1 / np.array(IMAGENET_STD), -np.array(IMAGENET_MEAN) / IMAGENET_STD, dtype="float32"
    )
    trunk = _backbone(backbone, image_size, weights if weights in WEIGHTS else "none")
    pooled = tf.keras.layers.GlobalAveragePooling2D(name="pooled")(trunk(scale(images)))
    dropped = tf.keras.layers.Dropout(dropout, name="dropout")(pooled)
    logits = tf.keras.layers.Dense(1, dtype="float32", name="logits")(dropped)
    model = tf.keras.Model(images, logits, name="classifier")
    if weights not in WEIGHTS:
        load_weights(model if weights.endswith(".weights.h5") else trunk, weights)
    return model


def _backbone(name, image_size, weights):
    create = getattr(efficientnet.model, f"EfficientNet{name.removeprefix('efficientnet-').upper()}")
    # `efficientnet.tfkeras` would import tensorflow.keras, which is Keras 3 where TensorFlow was imported before us.
    options = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
    options |= {"include_top": False, "input_shape": (image_size, image_size, 3)}
    if weights == "none":
        return create(weights=None, **options)
    try:
        return create(weights=weights, **options)
    except tf.errors.OpError:
        raise
    except Exception as error:
        # Keras raises a bare Exception for a failed download.
        file = f"{name}_{weights}_notop.h5"
        if weights == "imagenet":
            file = f"{name}_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5"
        folder = os.path.join(os.path.expanduser("~"), ".keras", "models")
        raise ValueError(
            f"the {weights} weights of {name} could not be downloaded ({str(error).strip()}): put {file} into {folder} "
            "or give its path as --weights=PATH, or start from random ones with --weights=none"
        ) from error


def trunk_of(classifier):
    """Gives a classifier's backbone, a Keras model of its own."""
    return next(layer for layer in classifier.layers if isinstance(layer, tf.keras.Model))


def load_weights(model, path):
    """Loads weights in place.

    Args:
        model: Keras model.
        path: Its `.h5` or `.weights.h5` file, local or not.

    Raises:
        ValueError: There is no such file, or it holds another model's weights.
    """
    if not tf.io.gfile.exists(path):
        raise ValueError(f"expected --weights to be {', '.join(WEIGHTS)} or the path of an .h5 file, got {path!r}")
    try:
        with tempfile.TemporaryDirectory() as folder:
            # Keras reads HDF5 from local files only.
            local = os.path.join(folder, os.path.basename(path))
            tf.io.gfile.copy(path, local)
            model.load_weights(local)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"{path} does not hold weights of this backbone: {error}") from error


def make_predictor(models, strategy):
    """Creates the function that predicts an evaluation dataset; its graph is traced once.

    Args:
        models: Classifiers created in the strategy's scope; their probabilities are averaged.
        strategy: `tf.distribute.Strategy`.

    Returns:
        Function from a dataset (see `pipeline.eval_dataset`; its batch divides by the number of this process's
        replicas) to an iterator of names (list of text) and probabilities (float32 `[n]`), a batch at a time, in the
        dataset's order.
    """
    replicas = devices.local_replicas(strategy)

    def replica_probabilities(images):
        scaled = augment.as_float(images)
        return tf.add_n([tf.sigmoid(model(scaled, training=False)[:, 0]) for model in models]) / len(models)

    @tf.function
    def probabilities(images):
        return strategy.experimental_local_results(strategy.run(replica_probabilities, args=(images,)))

    def predict(dataset):
        for images, names in dataset:
            shares = tf.split(images, replicas)
            # Names are text and stay on the host, so only images are distributed.
            images = strategy.experimental_distribute_values_from_function(
                lambda context, shares=shares: shares[context.replica_id_in_sync_group % replicas]
            )
            named = names.numpy() != b""
            found = np.concatenate(probabilities(images))[named]
            yield [name.decode() for name in names.numpy()[named]], found

    return predict
