"""What a training step does: schedule, optimizer, loss, and the update on all replicas."""

import tensorflow as tf

from isic_tf import augment, policies


def make_schedule(learning_rate, warmup_steps, total_steps):
    """Creates the schedule: linear from 0 to `learning_rate` in `warmup_steps`, then a cosine to 0 at `total_steps`.

    Cosine decay: Loshchilov and Hutter, ICLR 2017; warm-up: Goyal et al. 2017.
    """
    if warmup_steps >= total_steps:
        steps = f"the run's {total_steps} steps, got {warmup_steps}"
        raise ValueError(f"expected a warm-up shorter than {steps}; lower --warmup_epochs or raise --epochs")
    if not warmup_steps:
        return tf.keras.optimizers.schedules.CosineDecay(learning_rate, total_steps)
    return tf.keras.optimizers.schedules.CosineDecay(
        0.0, total_steps - warmup_steps, warmup_target=learning_rate, warmup_steps=warmup_steps
    )


def make_optimizer(schedule, weight_decay):
    """Creates AdamW (Loshchilov and Hutter, ICLR 2019).

    Args:
        schedule: Learning rate or its schedule.
        weight_decay: Multiplied by the learning rate; norms and biases are spared. 0 makes it Adam.

    Returns:
        Keras optimizer.
    """
    # Compiled, the update would be another program on each kind of device.
    optimizer = tf.keras.optimizers.AdamW(schedule, weight_decay=weight_decay, jit_compile=False)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    return optimizer


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


def make_train_step(strategy, state, recipe):
    """Creates the training step: augment, forward, backward, update, on every replica at once.

    Args:
        strategy: `tf.distribute.Strategy`.
        state: See `checkpoints.make_state`.
        recipe: Dict of the recipe's flags.

    Returns:
        Function that takes the next global batch from an iterator of distributed batches. It adds the mean loss to
        `state.loss` and 1 to `state.step`.
    """
    augmented = augment.make_augment(policies.read(recipe["augment_policy"], recipe["augment_strength"]))
    classifier, variables = state.model, state.model.trainable_variables

    def replica_step(images, labels, seeds):
        images, labels = augmented(images, labels, seeds)
        with tf.GradientTape() as tape:
            logits = classifier(images, training=True)[:, 0]
            losses = smoothed_loss(labels, logits, recipe["label_smoothing"])
            # Divided by the global batch, so that the sum over replicas is the mean.
            loss = tf.reduce_sum(losses) / recipe["global_batch_size"]
        state.optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    @tf.function
    def step(iterator):
        losses = strategy.run(replica_step, args=next(iterator))
        state.loss.assign_add(strategy.reduce(tf.distribute.ReduceOp.SUM, losses, axis=None))
        state.step.assign_add(1)

    return step
