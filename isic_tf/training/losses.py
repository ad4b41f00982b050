"""Losses of soft labels, for two classes or more, scaled so that replicas and parts of a batch sum up to the mean."""

import tensorflow as tf

from isic_tf.data import targets

LOSSES = ("cross_entropy", "focal", "auc")


def make_loss(config):
    """Creates the loss.

    `cross_entropy`: with labels smoothed by `label_smoothing` (Szegedy et al., CVPR 2016). `focal`: that, times the
    distance of label and probability to the power `focal_gamma`, which for hard labels is the focal loss (Lin et al.,
    ICCV 2017) and for soft ones its extension (Li et al., NeurIPS 2020). `auc`: see `rank`. In the first two a
    malignant image counts `malignant_weight` times.

    Args:
        config: The configuration.

    Returns:
        Function from float32 labels and logits `[b, c]` of one replica to its share of the global batch's mean loss,
        float32 `[]`.
    """

    def pointwise(labels, logits):
        smoothed = smooth(labels, config.label_smoothing)
        losses = cross_entropy(smoothed, logits, config.focal_gamma if config.loss == "focal" else 0.0)
        weights = 1 + (config.malignant_weight - 1) * targets.malignant_probability(labels)
        return tf.reduce_sum(weights * losses) / config.global_batch_size

    return rank if config.loss == "auc" else pointwise


def describe_empty(plan, batch_size):
    """Says which share of the batches `rank` learns nothing from, since they are of one class."""
    shares = plan.rows.groupby("group")["label"].mean()
    malignant = float((shares * plan.quotas).sum() / plan.size)
    empty = malignant**batch_size + (1 - malignant) ** batch_size
    return f"  {empty:.0%} of the batches are of one class and teach --loss=auc nothing; --balance makes them fewer"


def smooth(labels, share):
    """Moves float32 labels `[b, c]` by a share in [0, 1) towards equal chances of all classes, of the two for c = 1."""
    return labels * (1 - share) + share / max(2, labels.shape[-1])


def cross_entropy(labels, logits, gamma=0.0):
    """Computes each image's cross-entropy, of a sigmoid for one logit and of a softmax for more, or its focal form.

    Args:
        labels: float32 `[b, c]`, 0 to 1; of sum 1 for c > 1.
        logits: float32 `[b, c]`.
        gamma: Power of the focal loss; 0 for none.

    Returns:
        float32 `[b]`.
    """
    if labels.shape[-1] == 1:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        probabilities = tf.sigmoid(logits)
    else:
        losses = -labels * tf.nn.log_softmax(logits)
        probabilities = tf.nn.softmax(logits)
    if gamma:
        # Where both are equal the power's gradient would be no number for gamma below 1.
        losses *= tf.maximum(tf.abs(labels - probabilities), 1e-7) ** gamma
    return tf.reduce_sum(losses, axis=1)


def rank(labels, logits):
    """Computes a differentiable stand-in for 1 - AUC: the mean over pairs of log(1 + exp(benign - malignant logit)).

    The logistic surrogate is consistent with the AUC (Gao and Zhou, IJCAI 2015). A soft label takes part on both sides
    by its share. The pairs are those of the whole global batch, so that replicas change nothing; a batch of one class
    has none, and a loss of 0. What comes out ranks images and is no calibrated probability.

    Args:
        labels: float32 `[b, c]`, 0 to 1, of one replica.
        logits: float32 `[b, c]`.

    Returns:
        This replica's share of the loss, float32 `[]`.
    """
    shares, scores = targets.malignant_probability(labels), targets.malignant_logit(logits)
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas > 1:
        shares, scores = (context.all_gather(own, axis=0) for own in (shares, scores))
    pairs = shares[:, None] * (1 - shares)[None]
    losses = tf.math.softplus(scores[None] - scores[:, None])
    return tf.math.divide_no_nan(tf.reduce_sum(pairs * losses), tf.reduce_sum(pairs)) / replicas
