"""Optimizers, by name."""

import sys
import types
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.optim.config import OptimizerConfig

_KERAS_OPTIMIZERS = ("adam", "adamw", "sgd")
# Parts of the names of weights that are not decayed: biases, norms, and the exponent of generalized mean pooling.
_NOT_DECAYED = ("bias", "gamma", "beta", "power")


def make_optimizer(
    config: "OptimizerConfig", schedule: tf.keras.optimizers.schedules.LearningRateSchedule
) -> tf.keras.optimizers.Optimizer:
    """Creates an optimizer.

    Adam: Kingma and Ba 2015; AdamW: Loshchilov and Hutter 2019; SGD with a Nesterov momentum of 0.9; LAMB: You et al.
    2020; NovoGrad: Ginsburg et al. 2019; Rectified Adam: Liu et al. 2020; Ranger: Lookahead of it (Zhang et al. 2019).

    Args:
        config: Configuration with `optimizer`, `weight_decay` (decoupled: multiplied by the learning rate; norms and
            biases are not decayed; ignored by `adam`) and `precision`.
        schedule: See `make_schedule`.

    Returns:
        Keras optimizer; for `mixed_float16` one that scales the loss.

    Raises:
        IsicError: The optimizer needs a package that is not installed.

    Examples:
        >>> from isic_tf.optim import OptimizerConfig, make_schedule
        >>> config = OptimizerConfig(optimizer="sgd", learning_rate=0.1, warmup_epochs=0.0)
        >>> optimizer = make_optimizer(config, make_schedule(config, steps=100))
        >>> type(optimizer).__name__, optimizer.weight_decay
        ('SGD', 0.01)
    """
    if config.optimizer in _KERAS_OPTIMIZERS:
        optimizer = _make_keras_optimizer(config.optimizer, schedule, config.weight_decay)
    else:
        optimizer = _make_addon(config.optimizer, schedule, config.weight_decay)
    if config.precision == "mixed_float16":
        return tf.keras.mixed_precision.LossScaleOptimizer(optimizer)
    return optimizer


def _make_keras_optimizer(
    name: str, schedule: tf.keras.optimizers.schedules.LearningRateSchedule, decay: float
) -> tf.keras.optimizers.Optimizer:
    # Compiled by XLA, the update would be a different program on each kind of device.
    options = {"weight_decay": decay if decay and name != "adam" else None, "jit_compile": False}
    if name == "sgd":
        optimizer = tf.keras.optimizers.SGD(schedule, momentum=0.9, nesterov=True, **options)
    else:
        optimizer = _Adam(schedule, **options)
    if options["weight_decay"]:
        optimizer.exclude_from_weight_decay(var_names=list(_NOT_DECAYED))
    return optimizer


class _Adam(tf.keras.optimizers.Adam):
    """Adam that computes the step size once, not for each variable, so that its graph is made in half the time."""

    def _distributed_apply_gradients_fn(
        self, distribution: tf.distribute.Strategy, grads_and_vars: Sequence[tuple[tf.Tensor, tf.Variable]]
    ) -> tf.Tensor:
        step = tf.cast(self.iterations + 1, tf.float32)
        first, second = (1 - tf.pow(tf.constant(beta), step) for beta in (self.beta_1, self.beta_2))
        self._step_size = tf.cast(self.learning_rate, tf.float32) * tf.sqrt(second) / first
        iterations = super()._distributed_apply_gradients_fn(distribution, grads_and_vars)
        self._step_size = None
        return iterations

    def update_step(self, gradient: tf.Tensor, variable: tf.Variable) -> None:
        """Updates a variable as Keras's Adam does, to the last bit."""
        place = self._index_dict[self._var_key(variable)]
        mean, square = self._momentums[place], self._velocities[place]
        mean.assign_add((gradient - mean) * (1 - self.beta_1))
        square.assign_add((tf.square(gradient) - square) * (1 - self.beta_2))
        variable.assign_sub((mean * self._step_size) / (tf.sqrt(square) + self.epsilon))


def _make_addon(
    name: str, schedule: tf.keras.optimizers.schedules.LearningRateSchedule, decay: float
) -> tf.keras.optimizers.Optimizer:
    addons = _import_addons(name)
    if name == "lamb":
        # LAMB has a decay of its own, which is part of the trust ratio.
        return addons.LAMB(schedule, weight_decay=decay, exclude_from_weight_decay=list(_NOT_DECAYED))
    base = addons.NovoGrad if name == "novograd" else addons.RectifiedAdam

    class Decayed(base):  # type: ignore[valid-type, misc]
        """Decays all weights but norms and biases, which the package's own decay cannot leave out."""

        def _resource_apply_dense(
            self, grad: tf.Tensor, var: tf.Variable, apply_state: dict[str, Any] | None = None
        ) -> tf.Operation:
            if any(part in var.name for part in _NOT_DECAYED):
                return super()._resource_apply_dense(grad, var, apply_state)
            with tf.control_dependencies([var.assign_sub(decay * schedule(self.iterations) * var)]):
                return super()._resource_apply_dense(grad, var, apply_state)

    return addons.Lookahead(Decayed(schedule)) if name == "ranger" else Decayed(schedule)


def _import_addons(name: str) -> types.ModuleType:
    # The package looks for Keras 2 under two names that Keras 3 has taken: one in any case, the other if TensorFlow was
    # imported before isic_tf.
    import tf_keras.api._v2.keras
    import tf_keras.src.engine

    sys.modules.setdefault("keras.src.engine", tf_keras.src.engine)
    sys.modules.setdefault("tensorflow.keras", tf_keras.api._v2.keras)
    try:
        with warnings.catch_warnings():
            # It warns of its end of life and of newer TensorFlow; the suite tests what is used here with both.
            warnings.simplefilter("ignore")
            import tensorflow_addons.optimizers
    except ImportError as error:
        raise errors.IsicError(
            f"--optimizer={name} needs the package tensorflow-addons, which has wheels up to Python 3.11 "
            f"(pip install 'tensorflow-addons<0.24'): {error}; --optimizer=adamw needs no other package"
        ) from error
    return tensorflow_addons.optimizers


def create_variables(optimizer: tf.keras.optimizers.Optimizer, variables: Sequence[tf.Variable]) -> None:
    """Creates all variables of an optimizer, so that a checkpoint can hold each of them before the first step.

    Args:
        optimizer: See `make_optimizer`.
        variables: The weights that it will update.
    """
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
        return
    # Optimizers of tensorflow-addons are of Keras's older kind.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    inner._create_all_weights(variables)
