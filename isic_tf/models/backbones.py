"""Image encoders by name: which there are, how they are built, and the weights that they can start from.

To add a backbone: add its name to `families/names.py`, and the files of its weights to
`pretrained/published/weights.yaml`. A family is a module with `build` and `make_normalization`.

Options are checked here, so TensorFlow is imported with the families and the weights, when a network is built.
"""

import difflib
import types
from typing import TYPE_CHECKING

from isic_tf.models import families, pretrained
from isic_tf.models.families import names
from isic_tf.models.pretrained import weights_table
from tfrecord_tools import errors

if TYPE_CHECKING:
    import tensorflow as tf

BACKBONES = tuple(name for family in names.FAMILIES.values() for name in family)
WEIGHTS = weights_table.CHOICES


def check(backbone: str, image_size: int) -> None:
    """Raises a ConfigError for a backbone that does not exist, or an image size that is not an integer >= 32."""
    check_name(backbone)
    if not isinstance(image_size, int) or image_size < 32:
        raise errors.ConfigError(f"expected an image size in whole pixels from 32, got {image_size!r}")


def check_name(backbone: str) -> None:
    """Checks that a backbone is one of `BACKBONES` or the address of a function, whose module is not imported.

    Args:
        backbone: One of `BACKBONES`, or `module:function`, see `user_backbones.build`.

    Raises:
        ConfigError: It is neither.
    """
    if names.is_address(backbone):
        names.check_address(backbone)
    elif backbone not in BACKBONES:
        close = difflib.get_close_matches(backbone, BACKBONES, 1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise errors.ConfigError(
            f"expected a backbone of {', '.join(BACKBONES)}, or module:function for your own, got {backbone!r}{meant}"
        )


def find_family(backbone: str) -> types.ModuleType:
    """Returns the module in `families` that builds a backbone."""
    family: types.ModuleType = getattr(families, names.find_family(backbone))
    return family


def published(backbone: str) -> tuple[str, ...]:
    """Returns the kinds of weights that are published for a backbone: some of `WEIGHTS`."""
    if names.is_address(backbone):
        return ()
    return weights_table.list_kinds(backbone)


def default_weights(backbone: str) -> str:
    """Returns the weights that a backbone starts from where none are given: the best of those that are published.

    Args:
        backbone: See `check_name`.

    Returns:
        One of `WEIGHTS`; "none" where nothing is published, as of networks of the user.

    Raises:
        ConfigError: There is no such backbone.

    Examples:
        >>> default_weights("efficientnet-lite0"), default_weights("efficientnet-b0")
        ('imagenet', 'noisy-student')
    """
    check_name(backbone)
    return ("none", *published(backbone))[-1]


def weights_path(weights: str) -> str | None:
    """Returns `weights` if it is the path of a file, None if it names published or random weights."""
    return None if weights in WEIGHTS else weights


def check_weights(backbone: str, weights: str) -> None:
    """Raises a ConfigError for weights other than "none" and those that are published for the backbone."""
    if weights not in ("none", *published(backbone)):
        others = ", ".join((*published(backbone), "none"))
        raise errors.ConfigError(
            f"there are no {weights} weights of {backbone}: give --weights={others} or the path of a file"
        )


def find_sources(backbone: str, weights: str) -> None:
    """Finds what a network will be built from, so that what is missing is known before time is spent on other things.

    The module of a user's network is imported; published weights that are not here are downloaded.

    Args:
        backbone: See `check_name`.
        weights: One of `WEIGHTS`, or the path of a file.

    Raises:
        ConfigError: There is no such function, or the file is of a kind that the backbone does not load.
        IsicError: The weights are neither here nor can they be downloaded.
        CorruptRecordError: The file is none of weights, or the published one of another backbone.
    """
    if names.is_address(backbone):
        families.user_backbones.find_function(backbone)
    path = weights_path(weights)
    if path:
        pretrained.check_format(path, backbone)
    elif weights != "none":
        pretrained.locate(backbone, weights)


def make_normalization(backbone: str) -> "tf.keras.layers.Layer":
    """Creates the layer that normalizes images as the published weights of a backbone expect.

    Args:
        backbone: See `check_name`.

    Returns:
        Keras layer from float32 `[b, S, S, 3]` in [0, 1], RGB, to the input of the backbone. It computes in float32,
        whatever the precision policy.
    """
    return find_family(backbone).make_normalization(backbone)


def build_backbone(backbone: str, image_size: int, weights: str = "none") -> "tf.keras.Model":
    """Builds a backbone without its classification layer.

    Args:
        backbone: See `check_name`; the sources are named in `families`.
        image_size: Side S in pixels, 32 or more.
        weights: One of `WEIGHTS`.

    Returns:
        Keras model from normalized float32 `[b, S, S, 3]` to features `[b, h, w, f]`, with h = w = S / 32 rounded up
        in nearly all of them.

    Raises:
        ConfigError: The backbone or image size is not supported, or such weights are not published.
        IsicError: The weights are neither here nor can they be downloaded.
        CorruptRecordError: The file of the weights is not the one that was published.

    Examples:
        >>> build_backbone("efficientnet-lite0", 64).output_shape
        (None, 2, 2, 1280)
    """
    check(backbone, image_size)
    check_weights(backbone, weights)
    network = find_family(backbone).build(backbone, image_size)
    if weights != "none":
        pretrained.load_published(network, backbone, weights)
    return network
