"""Converts weights files of other libraries to the layout that `--weights=PATH` loads."""

import os
from typing import NamedTuple

import tensorflow as tf

from isic_tf.models import backbones
from isic_tf.models.conversion import (
    input_normalization,
    origins,
    recognition,
    source_files,
)
from isic_tf.models.conversion.config import WeightsConfig
from isic_tf.models.pretrained import h5_weights, naming_schemes, state_dicts
from isic_tf.models.pretrained.state_dicts import Source
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, temporary_files

# The arrays do not depend on the image size.
_IMAGE_SIZE = 64
_ENDINGS = (".safetensors", ".pth", ".pt", ".npz", ".bin")
_OF_CLASSIFIERS = ".weights.h5"
_LICENSE = "the weights remain under the license of their publisher: it applies to what is trained from them too"
_PADDING = (
    "note: PyTorch pads both sides alike, TensorFlow the lower right side first: features are exactly the same at "
    "image sizes of 32 n + 1, as 225 or 385, and shifted by a pixel in layers of stride 2 at others"
)
_BORDER = "note: the first convolution pads with another color than that of the source; elsewhere features are the same"


class Identity(NamedTuple):
    """What the arrays of a file are: the `scheme` of their names, and the `backbone`."""

    scheme: str
    backbone: str


def convert_file(config: WeightsConfig) -> list[str]:
    """Converts a weights file, checks that the result loads, and writes it complete or not at all.

    Args:
        config: The file, the output, and what the file does not say.

    Returns:
        Lines of text: what was converted, what was left out, and where features differ from those of the source.

    Raises:
        ConfigError: The file does not exist or needs no conversion, or the output has another ending, or exists with
            other weights.
        CorruptRecordError: The file is damaged, or does not hold all weights of an EfficientNet.

    Examples:
        >>> config = WeightsConfig(convert="tf_efficientnet_b0.ns_jft_in1k.safetensors", output="b0.h5")
        >>> convert_file(config)[-1]  # doctest: +SKIP
        'wrote b0.h5: --backbone=efficientnet-b0 --weights=b0.h5'
    """
    _check_ending(str(config.output))
    source = source_files.read_source(str(config.convert))
    if source.kind == "Keras 2":
        raise errors.ConfigError(f"expected a file to convert, got {source.path}, which --weights={source.path} loads")
    identity = identify(source, config.backbone)
    model = config.model or _strip_ending(os.path.basename(source.path))
    origin = origins.find_origin(identity.scheme, identity.backbone, model, source.arrays, config.normalization)
    network = backbones.build_backbone(identity.backbone, _IMAGE_SIZE)
    arrays, left_out = state_dicts.convert(network, source, identity.scheme, origin.epsilon)
    differs = input_normalization.differs(identity.backbone, origin.normalization)
    if differs:
        arrays = input_normalization.fold(network, arrays, origin.normalization)
    network.set_weights(arrays)
    _write(network, str(config.output))
    is_exact = identity.scheme == naming_schemes.KERAS_3 or (
        identity.scheme == naming_schemes.TIMM and origin.epsilon == origins.GOOGLE_EPSILON
    )
    return [
        f"{source.path}: {source.kind}, {identity.backbone} of {identity.scheme}, {len(arrays)} arrays",
        f"left out: {_list_shortly(left_out)}",
        f"epsilon of batch normalization {origin.epsilon:g}, images normalized as {origin.normalization}",
        *([_BORDER] if differs else []),
        *([] if is_exact else [_PADDING]),
        f"note: {_LICENSE}",
        f"wrote {config.output}: --backbone={identity.backbone} --weights={config.output}",
    ]


def identify(source: Source, backbone: str | None) -> Identity:
    """Finds out by names and shapes what the arrays of a file are.

    Args:
        source: The file.
        backbone: See `backbones.check_name`; None if it is not known.

    Returns:
        Scheme and backbone; whether all arrays are there is not checked.

    Raises:
        CorruptRecordError: The names or the shapes are those of no EfficientNet, or the backbone is of another family.
    """
    scheme = naming_schemes.find_scheme(source.arrays)
    if not scheme:
        first = next(iter(source.arrays), "nothing")
        raise errors.CorruptRecordError(
            f"expected an EfficientNet of {', '.join(naming_schemes.SCHEMES)} in {source.path}, found arrays named as "
            f"{first[:80]!r}; name another file"
        )
    if backbone and backbone not in recognition.BACKBONES:
        raise errors.CorruptRecordError(
            f"expected weights of {backbone} in {source.path}, found an EfficientNet of {scheme}; give --backbone="
            f"{recognition.recognize(source.arrays) or 'NAME'}, or name another file"
        )
    backbone = backbone or recognition.recognize(source.arrays)
    if not backbone:
        number, elements = recognition.count_kernels(source.arrays)
        raise errors.CorruptRecordError(
            f"expected one of {', '.join(recognition.BACKBONES)} in {source.path}, found {number} convolutions of "
            f"{elements} numbers; {recognition.find_nearest(source.arrays)}: --backbone says what is missing of it"
        )
    return Identity(scheme, backbone)


def _check_ending(output: str) -> None:
    if not output.endswith(".h5") or output.endswith(_OF_CLASSIFIERS):
        raise errors.ConfigError(
            f"expected an --output that ends in .h5, and not in {_OF_CLASSIFIERS}, which is the name of complete "
            f"classifiers, got {output}"
        )


def _strip_ending(name: str) -> str:
    return next((name.removesuffix(ending) for ending in _ENDINGS if name.endswith(ending)), name)


def _list_shortly(names: list[str]) -> str:
    counters = [name for name in names if name.endswith("num_batches_tracked")]
    others = [name for name in names if name not in counters]
    shown = others[:4] + (["..."] if len(others) > 4 else [])
    return ", ".join(shown + ([f"{len(counters)} counters of batches"] if counters else [])) or "nothing"


def _write(network: tf.keras.Model, output: str) -> None:
    with temporary_files.temporary_directory("weights") as folder:
        local = os.path.join(folder, "converted.h5")
        network.save_weights(local)
        # What was written must load here.
        h5_weights.load(network, local)
        if filesystem.exists(output) and not filesystem.isdir(output):
            if filesystem.compute_sha256(output) == filesystem.compute_sha256(local):
                return
            raise errors.ConfigError(
                f"expected an --output that does not exist, or holds the same weights, got {output}; choose another, "
                "or remove it"
            )
        with atomic_write.replaced(output) as temporary:
            tf.io.gfile.copy(local, temporary)
