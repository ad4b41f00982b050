"""What a state dict does not say of its network: epsilon of batch normalization, and the normalization of images."""

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from isic_tf.models.pretrained import naming_schemes
from tfrecord_tools import errors

GOOGLE_EPSILON = 1e-3
_PYTORCH_EPSILON = 1e-5
# Models of timm, as `tf_efficientnet_b0.ns_jft_in1k`, and files of older releases, as `tf_efficientnet_b0_ns-c0e6.pth`.
_TIMM_NAME = re.compile(r"(?P<google>tf_)?efficientnet(v2)?_(?P<size>b\d|lite\d|s|m|l|l2)(?P<recipe>[._-].*)?")
# Recipes whose images are 2 x - 1: adversarial propagation, later ones of timm, and EfficientNetV2 on ImageNet-21k.
_HALF_RECIPES = re.compile(r"[._-](ap|ra4|in21k)([._-].*)?")
_STD = np.array([0.229, 0.224, 0.225])


class Origin(NamedTuple):
    """How the source computes: `epsilon` of batch normalization; `normalization`, see `config.NORMALIZATIONS`."""

    epsilon: float
    normalization: str


def find_origin(
    scheme: str, backbone: str, model: str, arrays: Mapping[str, np.ndarray], normalization: str | None = None
) -> Origin:
    """Finds how the library of a state dict computes.

    Args:
        scheme: One of `naming_schemes.SCHEMES`.
        backbone: The backbone that the state dict is of.
        model: Name of the model of timm, or of its file; with the other schemes it does not matter.
        arrays: The arrays, of which Keras 3's tell the normalization.
        normalization: The normalization, where it is known.

    Returns:
        Epsilon and normalization. Sources: `timm.models.efficientnet`, `torchvision.models.efficientnet`,
        `efficientnet_pytorch.utils`, `keras.applications`.

    Raises:
        ConfigError: The scheme is timm's, and the name is none of its models; or Keras's normalization is of neither
            kind.

    Examples:
        >>> find_origin("timm", "efficientnet-b0", "tf_efficientnet_b0.ns_jft_in1k", {})
        Origin(epsilon=0.001, normalization='imagenet')
    """
    # Google's weights of these networks, and of no others, are for 2 x - 1.
    of_google = "half" if _has_half(backbone) else "imagenet"
    if scheme == naming_schemes.TIMM:
        found = _find_timm(model, of_google)
    elif scheme == naming_schemes.TORCHVISION:
        found = _find_torchvision(backbone, of_google)
    elif scheme == naming_schemes.KERAS_3 and not normalization:
        found = Origin(GOOGLE_EPSILON, _read_keras(arrays) or of_google)
    else:
        found = Origin(GOOGLE_EPSILON, of_google)
    return found._replace(normalization=normalization) if normalization else found


def _find_torchvision(backbone: str, of_google: str) -> Origin:
    is_large = backbone in ("efficientnet-b5", "efficientnet-b6", "efficientnet-b7") or "v2" in backbone
    # Of EfficientNetV2, torchvision trained S and M itself.
    is_own = backbone in ("efficientnetv2-s", "efficientnetv2-m")
    return Origin(GOOGLE_EPSILON if is_large else _PYTORCH_EPSILON, "imagenet" if is_own else of_google)


def _has_half(backbone: str) -> bool:
    return "lite" in backbone or backbone in ("efficientnetv2-s", "efficientnetv2-m", "efficientnetv2-l")


def _find_timm(model: str, of_google: str) -> Origin:
    match = _TIMM_NAME.fullmatch(model)
    if not match:
        raise errors.ConfigError(
            f"expected the name of a model of timm, as tf_efficientnet_b0.ns_jft_in1k, got {model!r}: names with and "
            "without tf_ are different networks whose arrays have the same names; give --model, or call the file so"
        )
    is_half = _HALF_RECIPES.fullmatch(match["recipe"] or "")
    if match["google"]:
        return Origin(GOOGLE_EPSILON, "half" if is_half else of_google)
    return Origin(_PYTORCH_EPSILON, "half" if is_half else "imagenet")


def _read_keras(arrays: Mapping[str, np.ndarray]) -> str:
    """Reads the normalization of Keras's EfficientNet B0 to B7; "" where the file has none."""
    mean, variance = (arrays.get(f"layers/normalization/vars/{place}") for place in (0, 1))
    if mean is None or variance is None:
        return ""
    # A network that was trained from random weights is built with a normalization that does nothing. In published files
    # the standard deviation stands for the variance, and a second layer divides by its root again.
    if not np.any(mean) and np.all(variance == 1):
        return "unit"
    if mean.size == variance.size == 3 and np.allclose(variance.ravel(), _STD, atol=1e-3):
        return "imagenet"
    if mean.size == variance.size == 3 and np.allclose(variance.ravel(), _STD**2, atol=1e-3):
        return "imagenet"
    raise errors.ConfigError(
        f"expected the normalization of ImageNet, or none, got the mean {mean.ravel()[:3].tolist()} and the variance "
        f"{variance.ravel()[:3].tolist()}; give --normalization"
    )
