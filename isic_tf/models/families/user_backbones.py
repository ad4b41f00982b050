"""Networks of the user, `--backbone=module:function`."""

import importlib
from collections.abc import Callable

import tensorflow as tf

from isic_tf.models.families import names
from tfrecord_tools import errors

# Attribute of layers that were returned before.
_IS_BUILT = "_isic_tf_is_built"


def find_function(backbone: str) -> Callable[[int], tf.keras.Model]:
    """Imports the module of an address, and returns its function.

    Args:
        backbone: Address, see `names.check_address`. The module must be importable where the command runs: installed,
            or in a folder that `PYTHONPATH` names.

    Returns:
        The function, see `build`.

    Raises:
        ConfigError: It is no address, or the module cannot be imported or has no such function.

    Examples:
        >>> find_function("my_networks:build")  # doctest: +SKIP
        <function build at 0x7f0c2c1b1d00>
    """
    names.check_address(backbone)
    name, _, attribute = backbone.partition(":")
    try:
        module = importlib.import_module(name)
    # Importing executes the module, which may raise anything.
    except Exception as error:
        raise errors.ConfigError(
            f"expected a module {name} for --backbone={backbone}, which cannot be imported: {_describe(error)}; start "
            "the command where the module lies, with PYTHONPATH=. before it, or install the module"
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        found = f"there is a {type(function).__name__}" if hasattr(module, attribute) else "there is none"
        raise errors.ConfigError(
            f"expected a function {attribute} in {module.__file__} for --backbone={backbone}, but {found}"
        )
    return function


def build(backbone: str, image_size: int) -> tf.keras.Model:
    """Builds a network of the user by calling the function at an address with the image size.

    The function returns a functional or sequential model of Keras 2 (`tf.keras` after `import isic_tf`, or `tf_keras`)
    from float32 images `[b, S, S, 3]`, RGB in [0, 1], to features `[b, h, w, f]`: it normalizes the images itself. It
    is called for training, prediction and export alike, and must build the same network each time. Layers that draw
    random numbers should be Keras's `Dropout`, whose state checkpoints hold.

    Args:
        backbone: Address, see `find_function`.
        image_size: Side S in pixels.

    Returns:
        The model, under the name of the address with a dot for the colon, which names of layers cannot hold.

    Raises:
        ConfigError: There is no such function, it fails, or it returns something else.

    Examples:
        >>> build("my_networks:build", 64).output_shape  # doctest: +SKIP
        (None, 2, 2, 512)
    """
    function = find_function(backbone)
    # Names of layers must not count the networks that were built before: averages of weights are matched by them.
    tf.keras.backend.reset_uids()
    try:
        network = function(image_size)
    except errors.IsicError:
        raise
    except Exception as error:
        raise errors.ConfigError(
            f"expected a network from --backbone={backbone}, which failed for {image_size} px: {_describe(error)}"
        ) from error
    _check(network, backbone, image_size)
    layers = [layer for layer in network._flatten_layers() if layer.weights]
    if any(getattr(layer, _IS_BUILT, False) for layer in layers):
        raise errors.ConfigError(
            f"expected --backbone={backbone} to return a new network each time it is called, got layers of an earlier "
            "call, with which another fold or the averages of --ema would share their weights; build it in the function"
        )
    for layer in layers:
        setattr(layer, _IS_BUILT, True)
    return tf.keras.Model(network.input, network.output, name=backbone.replace(":", "."))


def make_normalization(backbone: str) -> tf.keras.layers.Layer:
    """Creates a layer that leaves the images in [0, 1]: the user's network normalizes them."""
    del backbone
    return tf.keras.layers.Activation("linear", dtype="float32")


def _describe(error: Exception) -> str:
    """Describes an exception in one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def _check(network: object, backbone: str, image_size: int) -> None:
    """Checks what the user's function returned."""
    kind = type(network)
    if not isinstance(network, tf.keras.Model):
        raise errors.ConfigError(
            f"expected --backbone={backbone} to return a model of Keras 2, got {kind.__module__}.{kind.__qualname__}; "
            "build it of tf.keras after `import isic_tf`, or of tf_keras"
        )
    # Only these have layers in a graph, by which they are frozen and explained.
    if not network.built or not getattr(network, "inputs", None):
        raise errors.ConfigError(
            f"expected --backbone={backbone} to return a functional model, got {kind.__qualname__} without fixed "
            "inputs; build it as tf.keras.Model(inputs, features)"
        )
    if network.input_shape != (None, image_size, image_size, 3):
        raise errors.ConfigError(
            f"expected --backbone={backbone} to receive [b, {image_size}, {image_size}, 3], found an input of "
            f"{network.input_shape}"
        )
    if not network.inputs[0].dtype.is_floating:
        raise errors.ConfigError(
            f"expected --backbone={backbone} to receive float32 images in [0, 1], found an input of "
            f"{network.inputs[0].dtype.name}, which would make them 0; leave out its dtype"
        )
    shape = network.output_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or not all(shape[1:]):
        raise errors.ConfigError(
            f"expected --backbone={backbone} to return features [b, h, w, f] before pooling, found an output of {shape}"
        )
