"""What a training step does: augment, forward, loss, backward, update, on all replicas."""

import tensorflow as tf

from isic_tf import augment, model, policies


def smoothed_loss(labels, logits, label_smoothing):
    """Computes each image's binary cross-entropy with labels moved to s/2 and 1 - s/2 (Szegedy et al., CVPR 2016).

    Args:
        labels: float32 `[b]`, 0 to 1.
        logits: float32 `[b]`.
        label_smoothing: s in [0, 1).

    Returns:
        float32 `[b]`.
    """
    targets = labels * (1 - label_smoothing) + label_smoothing / 2
    return tf.nn.sigmoid_cross_entropy_with_logits(labels=targets, logits=logits)


def make_train_step(strategy, state, recipe, frozen=False):
    """Creates the training step.

    Args:
        strategy: `tf.distribute.Strategy`.
        state: See `checkpoints.make_state`.
        recipe: Dict of the recipe's flags.
        frozen: Whether the backbone stays as it is, its batch statistics too.

    Returns:
        Function that takes the next global batch from an iterator of distributed batches. It adds the mean loss to
        `state.loss` and 1 to `state.step`.
    """
    if frozen or recipe["freeze_epochs"]:
        model.trunk_of(state.model).trainable = not frozen
    replica_step = make_replica_step(state, recipe)

    @tf.function
    def step(iterator):
        losses = strategy.run(replica_step, args=next(iterator))
        state.loss.assign_add(strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None))
        state.step.assign_add(1)

    return step


def make_replica_step(state, recipe):
    """Creates what one replica does in a step; all of it compiles under XLA with static shapes, as TPUs want it.

    Args:
        state: See `checkpoints.make_state`.
        recipe: Dict of the recipe's flags.

    Returns:
        Function from uint8 `[b, S, S, 3]`, float32 `[b]` labels and int64 `[b, 2]` seeds to the replica's share of the
        mean loss, float32 `[]`.
    """
    augmented = augment.make_augment(policies.read(recipe["augment_policy"], recipe["augment_strength"]))
    gradients_of = _make_gradients(state, recipe)

    def replica_step(images, labels, seeds):
        images, labels = augmented(images, labels, seeds)
        loss, gradients = gradients_of(images, labels)
        # Summed before they are clipped, so that the clipping does not depend on the number of replicas.
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if recipe["clip_norm"]:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe["clip_norm"])
        _update(state, gradients)
        _average(state, recipe["ema"])
        return loss

    return replica_step


def _make_gradients(state, recipe):
    """Creates the function from a replica's images and labels to its share of the mean loss and of the gradients."""
    classifier, variables = state.model, state.model.trainable_variables
    scaled = isinstance(state.optimizer, tf.keras.mixed_precision.LossScaleOptimizer)
    parts = recipe["accumulate"]

    def gradients_of(images, labels):
        with tf.GradientTape() as tape:
            logits = classifier(images, training=True)[:, 0]
            losses = smoothed_loss(labels, logits, recipe["label_smoothing"])
            # Divided by the global batch, so that the sum over replicas and parts is the mean.
            loss = tf.reduce_sum(losses) / recipe["global_batch_size"]
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


def _update(state, gradients):
    variables = state.model.trainable_variables
    pairs = list(zip(gradients, variables, strict=True))
    trunk = {variable.ref() for variable in model.trunk_of(state.model).trainable_variables} if state.others else ()
    for optimizer, own in ((state.optimizer, False), *((other, True) for other in state.others)):
        part = [pair for pair in pairs if (pair[1].ref() in trunk) == own]
        # The optimizers of tensorflow-addons are of Keras's older kind.
        new = isinstance(optimizer, tf.keras.optimizers.Optimizer)
        unsummed = {"skip_gradients_aggregation": True} if new else {"experimental_aggregate_gradients": False}
        if part:
            optimizer.apply_gradients(part, **unsummed)


def trained_weights(classifier):
    """Lists all weights that training changes, frozen or not, in a fixed order."""
    return sorted((weight for weight in classifier.weights if weight.trainable), key=lambda weight: weight.name)


def _average(state, decay):
    if state.averages:
        # Faster in the first steps, as TensorFlow's own average.
        done = tf.cast(state.optimizer.iterations, tf.float32)
        current = tf.minimum(decay, done / (done + 9))
        for average, weight in zip(state.averages, trained_weights(state.model), strict=True):
            average.assign(current * average + (1 - current) * weight)


def copy_averages(state, classifier):
    """Gives a classifier the averaged weights and the batch statistics of the one that is trained, if it is another."""
    if classifier is state.model:
        return
    for weight, average in zip(trained_weights(classifier), state.averages, strict=True):
        weight.assign(average)
    rest = [
        sorted((weight for weight in one.weights if not weight.trainable), key=lambda weight: weight.name)
        for one in (classifier, state.model)
    ]
    for weight, own in zip(*rest, strict=True):
        weight.assign(own.read_value())
