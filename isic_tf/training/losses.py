"""Losses for soft labels of one or several classes.

They are scaled so that the losses of all replicas and micro-batches sum up to the mean over the global batch.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import tensorflow as tf

from isic_tf.data import mixture, targets

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig


# From labels and logits of one replica, float32 `[b, c]`, to its share of the loss, float32 `[]`.
Loss = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def make_loss(config: "TrainConfig", classes: targets.ClassSet = targets.BINARY) -> Loss:
    """Creates the loss function of a run.

    `cross_entropy`: with labels smoothed by `label_smoothing` (Szegedy et al., CVPR 2016). `focal`: cross-entropy times
    the distance between label and probability to the power of `focal_gamma`; for hard labels that is the focal loss
    (Lin et al., ICCV 2017), for soft labels its extension (Li et al., NeurIPS 2020). `auc`: see
    `pairwise_ranking_loss`. In the first two, the loss of a malignant image, or of another positive class, is
    multiplied by `malignant_weight`.

    Args:
        config: The configuration of the run.
        classes: The classes of labels and logits.

    Returns:
        Function from float32 labels and logits `[b, c]` of one replica to its share of the mean loss of the global
        batch, float32 `[]`.
    """

    def pointwise(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        smoothed = smooth_labels(labels, config.label_smoothing, classes.multi_label)
        gamma = config.focal_gamma if config.loss == "focal" else 0.0
        losses = cross_entropy(smoothed, logits, gamma, classes.multi_label)
        weights = 1 + (config.malignant_weight - 1) * targets.positive_probability(labels, classes)
        return tf.reduce_sum(weights * losses) / config.global_batch_size

    def ranking(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return pairwise_ranking_loss(labels, logits, classes)

    return ranking if config.loss == "auc" else pointwise


def describe_one_class_batches(plan: mixture.Plan, batch_size: int) -> str:
    """Describes which fraction of the batches has no gradient of `pairwise_ranking_loss`, because of one class only.

    Args:
        plan: See `mixture.plan_fold`.
        batch_size: Images in a step, over all replicas.

    Returns:
        One line.
    """
    prevalence_of_groups = plan.rows.groupby("group")["label"].mean()
    prevalence = float((prevalence_of_groups * plan.samples_per_epoch).sum() / plan.size)
    fraction = prevalence**batch_size + (1 - prevalence) ** batch_size
    return f"  {fraction:.0%} of the batches have one class only, from which --loss=auc learns nothing; use --balance"


def smooth_labels(labels: tf.Tensor, smoothing: float, multi_label: bool = False) -> tf.Tensor:
    """Moves labels towards equal probabilities of all classes.

    Args:
        labels: float32 `[b, c]`, 0 to 1; c = 1 stands for two classes.
        smoothing: 0 (no change) to below 1.
        multi_label: Whether each of the c labels stands for two classes.

    Returns:
        float32 `[b, c]`.
    """
    return labels * (1 - smoothing) + smoothing / (2 if multi_label else max(2, labels.shape[-1]))


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, gamma: float = 0.0, multi_label: bool = False) -> tf.Tensor:
    """Computes the cross-entropy of each image, of a sigmoid for one logit and of a softmax for several.

    Args:
        labels: float32 `[b, c]`, 0 to 1; of a softmax their sum is 1.
        logits: float32 `[b, c]`.
        gamma: Exponent of the focal loss; 0 for the plain cross-entropy.
        multi_label: Whether each logit is that of a sigmoid; the cross-entropy is then the mean over them.

    Returns:
        float32 `[b]`.
    """
    if labels.shape[-1] == 1 or multi_label:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=labels, logits=logits)
        probabilities = tf.sigmoid(logits)
    else:
        losses = -labels * tf.nn.log_softmax(logits)
        probabilities = tf.nn.softmax(logits)
    if gamma:
        # At a distance of 0 the gradient of the power would be NaN for gamma below 1.
        losses *= tf.maximum(tf.abs(labels - probabilities), 1e-7) ** gamma
    return tf.reduce_mean(losses, axis=1) if multi_label else tf.reduce_sum(losses, axis=1)


def pairwise_ranking_loss(
    labels: tf.Tensor, logits: tf.Tensor, classes: targets.ClassSet = targets.BINARY
) -> tf.Tensor:
    """Computes a differentiable surrogate of 1 - AUC: the mean of log(1 + exp(benign - malignant logit)) over pairs.

    The logistic surrogate is consistent with the AUC (Gao and Zhou, IJCAI 2015). A soft label belongs to both classes,
    by its probability. The pairs are those of the global batch, so that the number of replicas changes nothing; a batch
    of one class has no pairs, and a loss of 0. The resulting outputs rank images and are not calibrated probabilities.

    Args:
        labels: float32 `[b, c]`, 0 to 1, of one replica.
        logits: float32 `[b, c]`.
        classes: Their classes, of which the positive ones are ranked above the others.

    Returns:
        This replica's share of the loss, float32 `[]`.
    """
    malignant = targets.positive_probability(labels, classes)
    scores = targets.positive_logit(logits, classes)
    context = tf.distribute.get_replica_context()
    replicas = context.num_replicas_in_sync
    if replicas > 1:
        malignant = context.all_gather(malignant, axis=0)
        scores = context.all_gather(scores, axis=0)
    pairs = malignant[:, None] * (1 - malignant)[None]
    losses = tf.math.softplus(scores[None] - scores[:, None])
    return tf.math.divide_no_nan(tf.reduce_sum(pairs * losses), tf.reduce_sum(pairs)) / replicas
