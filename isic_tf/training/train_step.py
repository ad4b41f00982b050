"""The training step on all replicas: gradients, update, averages."""

import itertools

import tensorflow as tf

from isic_tf.augmentation import augmenter, policies
from isic_tf.data import targets
from isic_tf.models import classifiers, patient_context_head
from isic_tf.training import ema, losses

# A loss above this is as lost as one that is no number.
_DIVERGED = 1e4


def make_train_step(strategy, state, config, frozen=False):
    """Creates the training step.

    Args:
        strategy: `tf.distribute.Strategy`.
        state: See `train_state.make_state`.
        config: The configuration.
        frozen: Whether the backbone stays as it is, its batch statistics too.

    Returns:
        Function that takes the next global batches, as many as its second argument says, from an iterator of
        distributed batches, and gives the seconds waited for them, float64 `[]`. For each it adds the mean loss to
        `state.loss`, the norm of the gradients to `state.gradient_norm` and 1 to `state.step`; the first step that
        diverges is kept in `state.bad_step`.
    """
    if frozen or config.freeze_epochs:
        classifiers.backbone_of(state.model).trainable = not frozen
    replica_step = make_replica_step(state, config)
    # TensorFlow has no clock where all operations are to be deterministic.
    clock = (lambda: tf.zeros([], tf.float64)) if config.deterministic else tf.timestamp

    def one(iterator):
        asked = clock()
        with tf.control_dependencies([asked]):
            batch = next(iterator)
        with tf.control_dependencies(tf.nest.flatten(batch, expand_composites=True)):
            waited = clock() - asked
        # Before the step changes it. Where the loss is not scaled it is as at its lowest.
        lowest = state.optimizer.loss_scale <= 1 if _is_scaled(state.optimizer) else tf.constant(True)
        own_losses, norms = strategy.run(replica_step, args=batch)
        loss = strategy.reduce(tf.distribute.ReduceOp.SUM, own_losses, axis=None)
        norm = strategy.reduce(tf.distribute.ReduceOp.MEAN, norms, axis=None)
        _account(state, loss, norm, lowest, _DIVERGED * max(1.0, config.malignant_weight))
        return waited

    @tf.function
    def step(iterator):
        return one(iterator)

    @tf.function
    def several(iterator, count):
        waited = tf.zeros([], tf.float64)
        for _ in tf.range(count):
            waited += one(iterator)
        return waited

    return lambda iterator, count=1: step(iterator) if count == 1 else several(iterator, tf.constant(count))


def _account(state, loss, norm, lowest, bound):
    state.loss.assign_add(loss)
    state.step.assign_add(1)
    finite = tf.math.is_finite(norm)
    # Where the loss is scaled, a step whose gradients overflow is skipped, and the scale lowered until it is 1.
    state.gradient_norm.assign_add(tf.where(finite, norm, 0.0))
    bad = ~(loss < bound) | (~finite & lowest)
    state.bad_step.assign(tf.where(bad & (state.bad_step < 0), state.step, state.bad_step))


def _is_scaled(optimizer):
    return isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)


def make_replica_step(state, config):
    """Creates what one replica does in a step; all of it compiles under XLA with static shapes, as TPUs want it.

    Args:
        state: See `train_state.make_state`.
        config: The configuration.

    Returns:
        Function from uint8 `[b, S, S, 3]`, float32 `[b, c + m]` (labels, then what the network sees beside images) and
        int64 `[b, 2]` seeds to the replica's share of the mean loss, of both stages where there are two, and the norm
        of all replicas' gradients together, both float32 `[]`.
    """
    augmented = augmenter.make_augment(policies.read_policy(config.augment_policy, config.augment_strength))
    gradients_of = _make_gradients(state, config)

    def replica_step(images, labels, seeds):
        # Metadata is mixed as labels are, where the policy mixes images.
        images, labels = augmented(images, labels, seeds)
        loss, gradients = gradients_of(images, labels)
        # Summed before they are clipped, so that the clipping does not depend on the number of replicas.
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        norm = tf.linalg.global_norm(gradients)
        if config.clip_norm:
            gradients, _ = tf.clip_by_global_norm(gradients, config.clip_norm, norm)
        _update(state, gradients)
        ema.update_averages(state, config.ema)
        return loss, norm

    return replica_step


def _make_gradients(state, config):
    """Creates the function from a replica's images and labels to its share of the mean loss and of the gradients."""
    network, variables = patient_context_head.both_levels(state.model), state.model.trainable_variables
    share_of_loss, widths = losses.make_loss(config), [part.shape[-1] for part in state.model.inputs[1:]]
    scaled, parts = _is_scaled(state.optimizer), config.gradient_accumulation_steps

    def gradients_of(images, labels):
        ends = list(itertools.accumulate([labels.shape[-1] - sum(widths), *widths]))
        known = [labels[:, first:last] for first, last in itertools.pairwise(ends)]
        labels = labels[:, : ends[0]]
        with tf.GradientTape() as tape:
            stages = tf.nest.flatten(network([images, *known] if known else images, training=True))
            shares = [share_of_loss(_labels_for(logits, labels), logits) for logits in stages]
            loss = tf.add_n(shares) / len(shares)
            target = state.optimizer.get_scaled_loss(loss) if scaled else loss
        gradients = tape.gradient(target, variables)
        return loss, state.optimizer.get_unscaled_gradients(gradients) if scaled else gradients

    def accumulated(images, labels):
        images, labels = (tf.reshape(whole, [parts, -1, *whole.shape[1:]]) for whole in (images, labels))
        loss, gradients = tf.zeros([]), [tf.zeros_like(variable) for variable in variables]
        # A loop of the graph, so that only one part's activations are held at a time.
        for part in tf.range(parts):
            own_loss, own = gradients_of(images[part], labels[part])
            loss += own_loss
            gradients = [whole + share for whole, share in zip(gradients, own, strict=True)]
        return loss, gradients

    return gradients_of if parts == 1 else accumulated


def _labels_for(logits, labels):
    # The second stage says malignant or not, of diagnoses too.
    return labels if logits.shape[-1] == labels.shape[-1] else targets.malignant_probability(labels)[:, tf.newaxis]


def _update(state, gradients):
    own = {variable.ref(): part for variable, part in zip(state.model.trainable_variables, gradients, strict=True)}
    groups = classifiers.group_variables(state.model, apart=bool(state.others))
    for optimizer, variables in zip((state.optimizer, *state.others), groups, strict=True):
        # The optimizers of tensorflow-addons are of Keras's older kind.
        new = isinstance(optimizer, tf.keras.optimizers.Optimizer)
        unsummed = {"skip_gradients_aggregation": True} if new else {"experimental_aggregate_gradients": False}
        if variables:
            optimizer.apply_gradients([(own[variable.ref()], variable) for variable in variables], **unsummed)
