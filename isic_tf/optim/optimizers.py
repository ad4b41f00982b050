"""Optimizers, by name."""

import sys
import warnings

import tensorflow as tf

from tfrecord_tools import errors

OPTIMIZERS = ("adamw", "adam", "sgd", "lamb", "novograd", "radam", "ranger")
# Biases, norms, and the power of generalised mean pooling.
_SPARED = ("bias", "gamma", "beta", "power")


def make_optimizer(config, schedule):
    """Creates the optimizer.

    Adam: Kingma and Ba 2015; AdamW: Loshchilov and Hutter 2019; SGD with Nesterov's momentum of 0.9; LAMB: You et al.
    2020; NovoGrad: Ginsburg et al. 2019; Rectified Adam: Liu et al. 2020; Ranger: Lookahead of it (Zhang et al. 2019).

    Args:
        config: The configuration: `optimizer`, `weight_decay` (decoupled: times the learning rate; norms and
            biases are spared; none for `adam`) and `precision`.
        schedule: See `make_schedule`.

    Returns:
        Keras optimizer; for `mixed_float16` one that scales the loss.

    Raises:
        IsicError: The optimizer's package is not there.
    """
    name, decay = config.optimizer, config.weight_decay
    if name in ("adam", "adamw", "sgd"):
        # Compiled, the update would be another program on each kind of device.
        options = {"weight_decay": decay if decay and name != "adam" else None, "jit_compile": False}
        if name == "sgd":
            optimizer = tf.keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, **options)
        else:
            optimizer = tf.keras.optimizers.Adam(schedule, **options)
        if options["weight_decay"]:
            optimizer.exclude_from_weight_decay(var_names=list(_SPARED))
    else:
        optimizer = _make_addon(name, schedule, decay)
    if config.precision == "mixed_float16":
        return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def _make_addon(name, schedule, decay):
    addons = _import_addons(name)
    if name == "lamb":
        # Its own decay, which counts in the ratio of the layer's norms.
        return addons.LAMB(schedule, weight_decay=decay, exclude_from_weight_decay=list(_SPARED))
    base = addons.NovoGrad if name == "novograd" else addons.RectifiedAdam

    class Decayed(base):
        """Spares norms and biases, which the package's own decay of these optimizers cannot."""

        def _resource_apply_dense(self, grad, var, apply_state=None):
            if any(part in var.name for part in _SPARED):
                return super()._resource_apply_dense(grad, var, apply_state)
            with tf.control_dependencies([var.assign_sub(decay * schedule(self.iterations) * var)]):
                return super()._resource_apply_dense(grad, var, apply_state)

    return addons.Lookahead(Decayed(schedule)) if name == "ranger" else Decayed(schedule)


def _import_addons(name):
    # It looks for Keras 2 under names that Keras 3 has taken: one in any case, the other where TensorFlow was imported
    # before this package.
    import tf_keras.api._v2.keras
    import tf_keras.src.engine

    sys.modules.setdefault("keras.src.engine", tf_keras.src.engine)
    sys.modules.setdefault("tensorflow.keras", tf_keras.api._v2.keras)
    try:
        with warnings.catch_warnings():
            # Of its end of life and of newer TensorFlow, with which the suite tests what is used here.
            warnings.simplefilter("ignore")
            import tensorflow_addons.optimizers
    except ImportError as error:
        raise errors.IsicError(
            f"--optimizer={name} needs the package tensorflow-addons, which has wheels up to Python 3.11 "
            f"(pip install 'tensorflow-addons<0.24'): {error}; adamw needs nothing"
        ) from error
    return tensorflow_addons.optimizers


def build(optimizer, variables):
    """Creates all of an optimizer's variables, so that a checkpoint has a place for each."""
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
        return
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner._create_all_weights(variables)
