"""Image encoders: EfficientNet and EfficientNetV2, their input normalization and their published weights.

To add a backbone: add its name to `BACKBONES`, how it is created to `_create`, its normalization to
`make_normalization`, the weights that can be downloaded to `published`, and their file name to `_weights_file`.
"""

import difflib
import os

import efficientnet.model
import tensorflow as tf

from isic_tf.artifacts import kept_weights
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, temporary_files

_FIRST = tuple(f"efficientnet-{size}" for size in (*(f"b{number}" for number in range(8)), "l2"))
_SECOND = tuple(f"efficientnetv2-{size}" for size in ("b0", "b1", "b2", "b3", "s", "m", "l"))
BACKBONES = _FIRST + _SECOND
WEIGHTS = ("none", "imagenet", "noisy-student")
# The package raises the rate of stochastic depth to 0.2 as if every network had the 16 blocks of B0: that of L2, with
# 88, would exceed 1. The others are left unchanged, since published scores were reached with them.
_L2_DROP_RATE = 0.2 * 16 / 88
# Statistics of ImageNet in [0, 1], RGB.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


def check(backbone: str, image_size: int) -> None:
    """Raises a ConfigError for a backbone that is not in `BACKBONES`, or an image size that is not an integer >= 32."""
    if backbone not in BACKBONES:
        raise errors.ConfigError(f"expected a backbone of {', '.join(BACKBONES)}, got {backbone!r}")
    if not isinstance(image_size, int) or image_size < 32:
        raise errors.ConfigError(f"expected an image size in whole pixels from 32, got {image_size!r}")


def published(backbone: str) -> tuple[str, ...]:
    """Returns the kinds of weights that can be downloaded for a backbone: some of `WEIGHTS`."""
    if backbone == "efficientnet-l2":
        return ()
    return ("imagenet",) if backbone in _SECOND else ("imagenet", "noisy-student")


def default_weights(backbone: str) -> str:
    """Returns the weights that a backbone starts from where none are given: the best of those that are published.

    Args:
        backbone: One of `BACKBONES`.

    Returns:
        One of `WEIGHTS`; "none" where nothing is published.

    Examples:
        >>> default_weights("efficientnet-b0"), default_weights("efficientnetv2-s")
        ('noisy-student', 'imagenet')
    """
    return ("none", *published(backbone))[-1]


def weights_path(weights: str) -> str | None:
    """Returns `weights` if it is the path of a file, None if it names published or random weights."""
    return None if weights in WEIGHTS else weights


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates the layer that normalizes images in [0, 1] as the published weights of a backbone expect.

    Uses mean and standard deviation of ImageNet for EfficientNet ('torch' mode) and for V2 B0 to B3, and
    255/128 x - 1 for V2 S, M and L. It computes in float32, whatever the precision policy.
    """
    if backbone in _SECOND and backbone[-1] in "sml":
        return tf.keras.layers.Rescaling(255 / 128, -1.0, dtype="float32")
    scale = [1 / std for std in _IMAGENET_STD]
    offset = [-mean / std for mean, std in zip(_IMAGENET_MEAN, _IMAGENET_STD, strict=True)]
    return tf.keras.layers.Rescaling(scale, offset, dtype="float32")


def build_backbone(backbone: str, image_size: int, weights: str = "none") -> tf.keras.Model:
    """Builds a backbone without its classification layer.

    EfficientNet: Tan and Le, ICML 2019, as in the package `efficientnet` (L2 and noisy student: Xie et al., CVPR 2020);
    EfficientNetV2: Tan and Le, ICML 2021, as in `tf.keras.applications`.

    Args:
        backbone: One of `BACKBONES`.
        image_size: Side S in pixels, 32 or more.
        weights: One of `WEIGHTS`.

    Returns:
        Keras model from normalized float32 `[b, S, S, 3]` to features `[b, S / 32, S / 32, f]`.

    Raises:
        ConfigError: The backbone or image size is not supported, or such weights are not published.
        IsicError: The weights cannot be downloaded.
    """
    check(backbone, image_size)
    if weights not in ("none", *published(backbone)):
        others = ", ".join((*published(backbone), "none"))
        raise errors.ConfigError(
            f"there are no {weights} weights of {backbone}: give --weights={others} or the path of a file"
        )
    try:
        return _create(backbone, image_size, None if weights == "none" else weights)
    except tf.errors.OpError:
        raise
    except Exception as error:
        if weights == "none":
            raise
        # Keras raises a bare Exception for a failed download.
        directory = os.path.join(os.path.expanduser("~"), ".keras", "models")
        raise errors.IsicError(
            f"the {weights} weights of {backbone} could not be downloaded ({str(error).strip()}): put "
            f"{_weights_file(backbone, weights)} into {directory} or give its path as --weights=PATH, or start from "
            "random weights with --weights=none"
        ) from error


def _create(backbone: str, image_size: int, weights: str | None) -> tf.keras.Model:
    shape = (image_size, image_size, 3)
    if backbone in _SECOND:
        create = getattr(tf.keras.applications, f"EfficientNetV2{backbone[-2:].strip('-').upper()}")
        return create(include_top=False, weights=weights, input_shape=shape, include_preprocessing=False)
    create = getattr(efficientnet.model, f"EfficientNet{backbone.removeprefix('efficientnet-').upper()}")
    # `efficientnet.tfkeras` would import tensorflow.keras, which is Keras 3 where TensorFlow was imported before us.
    options = {module: getattr(tf.keras, module) for module in ("backend", "layers", "models", "utils")}
    if backbone == "efficientnet-l2":
        options["drop_connect_rate"] = _L2_DROP_RATE
    return create(include_top=False, weights=weights, input_shape=shape, **options)


def _weights_file(backbone: str, weights: str) -> str:
    if backbone in _SECOND:
        return f"{backbone}_notop.h5"
    autoaugment = f"{backbone}_weights_tf_dim_ordering_tf_kernels_autoaugment_notop.h5"
    return autoaugment if weights == "imagenet" else f"{backbone}_{weights}_notop.h5"


def check_file(path: str) -> None:
    """Checks that there is a weights file.

    Args:
        path: See `load_weights`.

    Raises:
        ConfigError: There is none.
    """
    kinds = f"--weights is {', '.join(WEIGHTS)} or the path of an .h5 file"
    if not filesystem.exists(path):
        close = difflib.get_close_matches(path, WEIGHTS, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise errors.ConfigError(f"expected a weights file at {path}, which does not exist; {kinds}{meant}")
    if filesystem.isdir(path):
        raise errors.ConfigError(f"expected a weights file at {path}, which is a directory; {kinds}")


def load_weights(model: tf.keras.Model, path: str) -> None:
    """Loads weights from a file into a model; those that a run kept only if their SHA-256 is the recorded one.

    Args:
        model: Keras model.
        path: `.h5` or `.weights.h5` file, local or remote.

    Raises:
        ConfigError: There is no such file.
        CorruptRecordError: The file is damaged, or holds weights of another model.
    """
    check_file(path)
    try:
        with temporary_files.temporary_directory("weights") as folder:
            # Keras reads HDF5 from local files only.
            local = os.path.join(folder, os.path.basename(path))
            tf.io.gfile.copy(path, local)
            kept_weights.check_digest(path, local)
            model.load_weights(local)
    except errors.IsicError:
        raise
    except (OSError, ValueError, KeyError) as error:
        raise errors.CorruptRecordError(
            f"{path} does not hold weights of this network: {error}; name weights of the same backbone and model "
            "options, or copy the file again if it is damaged"
        ) from error
