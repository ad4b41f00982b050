"""Says what a weights file is."""

from collections.abc import Mapping

import numpy as np

from isic_tf.artifacts import kept_weights
from isic_tf.models import backbones
from isic_tf.models.conversion import convert_weights, recognition, source_files
from isic_tf.models.pretrained import naming_schemes, state_dicts, weights_files, weights_table
from isic_tf.models.pretrained.state_dicts import Source

_IMAGE_SIZE = 64
_ANY_EPSILON = 1e-3


def describe_file(path: str, backbone: str | None = None) -> list[str]:
    """Says what a weights file is: format, arrays, backbone, whether it was published, and how it is used.

    Args:
        path: Local or remote file.
        backbone: The backbone that it should be of, see `backbones.check_name`; recognized if None.

    Returns:
        Lines of text.

    Raises:
        ConfigError: There is no such file.
        CorruptRecordError: It is damaged, is not the published file whose name it has, or it holds other things than
            all weights of a network.

    Examples:
        >>> describe_file("b0.h5")[0]  # doctest: +SKIP
        'b0.h5: Keras 2, 309 arrays, 4049564 numbers'
    """
    source = source_files.read_source(path)
    published = weights_table.identify(path)
    numbers = sum(array.size for array in source.arrays.values())
    has_top = any(array.ndim == 2 for array in source.arrays.values())
    verified = "not in the table of published weights"
    if published:
        verified = f"{published.name}, {published.backbone} {published.kind}, {published.digest_label} verified"
    return [
        f"{path}: {source.kind}, {len(source.arrays)} arrays, {numbers} numbers",
        f"published: {verified}",
        *_describe_content(source, backbone or (published.backbone if published else None)),
        f"classification layer: {'yes' if has_top else 'no'}",
    ]


def _describe_content(source: Source, backbone: str | None) -> list[str]:
    """Checks that all arrays of the network are there, and says which it is and how to use it."""
    scheme = naming_schemes.find_scheme(source.arrays)
    if source.kind == "Keras 2":
        return [_check_layers(source, backbone or recognition.recognize(source.arrays))]
    is_hdf5 = weights_files.find_format(source.path) == "hdf5"
    if not scheme and is_hdf5 and _is_classifier(source.arrays):
        weights_files.check_kept(source.path, source.arrays)
        epoch = kept_weights.check_digest(source.path)
        kept = f"epoch {epoch}, SHA-256 verified" if epoch else "no SHA-256 beside it"
        return [
            f"weights of a complete classifier, as a run keeps them ({kept}); the file does not say of which backbone: "
            f"--weights={source.path} takes it for the same backbone and model options"
        ]
    identity = convert_weights.identify(source, backbone)
    network = backbones.build_backbone(identity.backbone, _IMAGE_SIZE)
    # Epsilon does not matter to whether all arrays are there.
    state_dicts.convert(network, source, scheme, _ANY_EPSILON)
    use = f"convert it: --convert={source.path} --output=PATH.h5"
    if "lite" in identity.backbone and (source.kind, scheme) == ("PyTorch", naming_schemes.EFFICIENTNET_PYTORCH):
        use = f"--weights={source.path}"
    return [f"{identity.backbone} of {scheme}, complete; {use}"]


def _is_classifier(arrays: Mapping[str, np.ndarray]) -> bool:
    """Returns whether arrays are those of a network with another network, the backbone, and a dense layer in it."""
    is_nested = any(name.count("layers/") > 1 for name in arrays)
    return is_nested and any(name.count("layers/") == 1 and array.ndim == 2 for name, array in arrays.items())


def _check_layers(source: Source, backbone: str) -> str:
    if not backbone:
        return "another network than the EfficientNets; name it with --backbone to see whether the file is complete"
    network = backbones.build_backbone(backbone, _IMAGE_SIZE)
    weights_files.load_weights(network, source.path)
    return f"{backbone}, complete; --weights={source.path}"
