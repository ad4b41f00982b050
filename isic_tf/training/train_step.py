"""The training step on all replicas: augmentation, gradients, update, averages."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import targets
from isic_tf.models import classifiers, layer_decay, patient_context_head
from isic_tf.optim import ema
from isic_tf.training import losses

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig

# A loss above this has diverged, as has one that is not finite.
_MAX_LOSS = 1e4

# From an iterator of distributed batches and a number of steps to the seconds waited for input, float64 `[]`.
TrainStep = Callable[..., tf.Tensor]
# From images, labels and seeds of one replica to its share of the loss and the norm of the gradients, float32 `[]`.
ReplicaStep = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# From images, labels and seeds of one replica to what the model sees, and labels.
Augment = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
# From float32 images and labels of one replica to its share of the loss and of the gradients.
_Gradients = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, list[tf.Tensor]]]


def make_train_step(
    strategy: tf.distribute.Strategy,
    state: tf.train.Checkpoint,
    config: "TrainConfig",
    frozen: bool = False,
    augment: Augment | None = None,
) -> TrainStep:
    """Creates the training step.

    Args:
        strategy: See `strategies.choose_strategy`.
        state: See `train_state.make_state`.
        config: The configuration of the run.
        frozen: Whether the backbone, including its batch statistics, is not trained.
        augment: See `make_replica_step`.

    Returns:
        Function that takes an iterator of distributed batches and the number of batches to train on (1 if not given),
        and returns the seconds waited for them, float64 `[]`. For each batch it adds the mean loss to `state.loss`, the
        norm of the gradients to `state.gradient_norm` and 1 to `state.step`; `state.bad_step` records the first step
        that diverges.
    """
    if frozen or config.num_frozen_epochs:
        classifiers.backbone_of(state.model).trainable = not frozen
    replica_step = make_replica_step(state, config, augment)
    # TensorFlow has no clock where all operations must be deterministic.
    clock = (lambda: tf.zeros([], tf.float64)) if config.deterministic else tf.timestamp
    max_loss = _MAX_LOSS * max(1.0, config.malignant_weight)

    def one(iterator: Iterator[Any]) -> tf.Tensor:
        asked = clock()
        with tf.control_dependencies([asked]):
            batch = next(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            waited = clock() - asked
        # Read before the step changes the scale. An unscaled loss counts as scaled by the lowest factor.
        lowest = state.optimizer.loss_scale <= 1 if _is_scaled(state.optimizer) else tf.constant(True)
        own_losses, norms = strategy.run(replica_step, args=batch)
        loss = strategy.reduce(tf.distribute.ReduceOp.SUM, own_losses, axis=None)
        norm = strategy.reduce(tf.distribute.ReduceOp.MEAN, norms, axis=None)
        _record_step(state, loss, norm, lowest, max_loss)
        return waited

    @tf.function
    def step(iterator: Iterator[Any]) -> tf.Tensor:
        return one(iterator)

    @tf.function
    def several(iterator: Iterator[Any], count: tf.Tensor) -> tf.Tensor:
        waited = tf.zeros([], tf.float64)
        for _ in tf.range(count):
            waited += one(iterator)
        return waited

    return lambda iterator, count=1: step(iterator) if count == 1 else several(iterator, tf.constant(count))


def _record_step(
    state: tf.train.Checkpoint, loss: tf.Tensor, norm: tf.Tensor, lowest: tf.Tensor, max_loss: float
) -> None:
    """Adds loss and gradient norm of a step to the state, and records the step if it is the first that diverged."""
    state.loss.assign_add(loss)
    state.step.assign_add(1)
    finite = tf.math.is_finite(norm)
    # With a scaled loss, a step whose gradients overflow is skipped and the scale halved, down to 1.
    state.gradient_norm.assign_add(tf.where(finite, norm, 0.0))
    bad = ~(loss < max_loss) | (~finite & lowest)
    state.bad_step.assign(tf.where(bad & (state.bad_step < 0), state.step, state.bad_step))


def _is_scaled(optimizer: tf.keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)


def make_replica_step(state: tf.train.Checkpoint, config: "TrainConfig", augment: Augment | None = None) -> ReplicaStep:
    """Creates what one replica does in a step; all of it compiles under XLA with static shapes, as TPUs require.

    Args:
        state: See `train_state.make_state`.
        config: The configuration of the run.
        augment: Function from a batch to what the model sees, see `augmenter.make_augment`; None for the policy of the
            configuration.

    Returns:
        Function from uint8 `[b, S, S, 3]` images, float32 `[b, c + m]` labels (followed by the model's inputs besides
        the image) and int64 `[b, 2]` seeds to the replica's share of the mean loss (with patient context the mean of
        both levels) and the norm of the gradients summed over all replicas, both float32 `[]`.
    """
    policy = policies.read_policy(config.augment_policy, config.augment_strength)
    augmented = augment or augmenter.make_augment(policy)
    gradients_of = _make_gradients(state, config)

    def replica_step(images: tf.Tensor, labels: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # If the policy mixes images, clinical metadata is mixed as labels are.
        images, labels = augmented(images, labels, seeds)
        loss, gradients = gradients_of(images, labels)
        # Summed before clipping, so that clipping does not depend on the number of replicas.
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients)
        if config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm, norm)
        _update(state, gradients, config.layer_decay)
        ema.update_averages(state, config.ema)
        return loss, norm

    return replica_step


def _make_gradients(state: tf.train.Checkpoint, config: "TrainConfig") -> _Gradients:
    """Creates the function from images and labels of a replica to its share of the mean loss and of the gradients."""
    network = patient_context_head.both_levels(state.model)
    variables = state.model.trainable_variables
    classes = config.class_set
    # The patient-context head predicts the positive classes or not, whatever classes the image level predicts.
    shares_of_loss = [losses.make_loss(config, classes), losses.make_loss(config)]
    # Columns of the model's inputs besides the image: clinical metadata and patient.
    widths = [part.shape[-1] for part in state.model.inputs[1:]]
    scaled = _is_scaled(state.optimizer)
    parts = config.gradient_accumulation_steps

    def gradients_of(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        ends = list(itertools.accumulate([labels.shape[-1] - sum(widths), *widths]))
        known = [labels[:, first:last] for first, last in itertools.pairwise(ends)]
        labels = labels[:, : ends[0]]
        with tf.GradientTape() as tape:
            levels = tf.nest.flatten(network([images, *known] if known else images, training=True))
            corrected = targets.positive_probability(labels, classes)[:, tf.newaxis]
            pairs = zip(shares_of_loss, (labels, corrected), levels, strict=False)
            shares = [share_of_loss(own, logits) for share_of_loss, own, logits in pairs]
            loss = tf.add_n(shares) / len(shares)
            target = state.optimizer.get_scaled_loss(loss) if scaled else loss
        gradients = tape.gradient(target, variables)
        return loss, state.optimizer.get_unscaled_gradients(gradients) if scaled else gradients

    def accumulated(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        images, labels = (tf.reshape(batch, [parts, -1, *batch.shape[1:]]) for batch in (images, labels))
        loss = tf.zeros([])
        gradients = [tf.zeros_like(variable) for variable in variables]
        # A loop of the graph, so that only the activations of one micro-batch are held at a time.
        for part in tf.range(parts):
            own_loss, own = gradients_of(images[part], labels[part])
            loss += own_loss
            gradients = [total + share for total, share in zip(gradients, own, strict=True)]
        return loss, gradients

    return gradients_of if parts == 1 else accumulated


@tf.autograph.experimental.do_not_convert
def _update(state: tf.train.Checkpoint, gradients: Sequence[tf.Tensor], decay: float) -> None:
    """Updates the weights by gradients that are summed over all replicas."""
    trained = state.model.trainable_variables
    own = {variable.ref(): part for variable, part in zip(trained, gradients, strict=True)}
    # The update of each optimizer is linear in its rate, so that a share of the update is a share of the rate.
    factors = layer_decay.find_factors(classifiers.backbone_of(state.model), decay) if decay < 1 else {}
    slower = [(variable, factors[variable.ref()]) for variable in trained if factors.get(variable.ref(), 1) < 1]
    before = [tf.identity(variable) for variable, _ in slower]
    groups = classifiers.group_variables(state.model, apart=bool(state.others))
    for optimizer, variables in zip((state.optimizer, *state.others), groups, strict=True):
        # Optimizers of tensorflow-addons are of Keras's older kind.
        new = isinstance(optimizer, tf.keras.optimizers.Optimizer)
        unsummed = {"skip_gradients_aggregation": True} if new else {"experimental_aggregate_gradients": False}
        if variables:
            optimizer.apply_gradients([(own[variable.ref()], variable) for variable in variables], **unsummed)
    for (variable, factor), old in zip(slower, before, strict=True):
        variable.assign(old + factor * (variable - old))
