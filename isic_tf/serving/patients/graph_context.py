"""Patient-context models in a TensorFlow graph: what `second_stage.apply_stage` computes of one patient's lesions."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from isic_tf.metrics import logit
from isic_tf.models.set_transformer import build_set_transformer
from isic_tf.patient_context import gradient_boosting, lesion_features, set_model
from isic_tf.patient_context.config import RELATIVE_METHODS
from isic_tf.patient_context.second_stage import NO_SPREAD, Stage
from isic_tf.serving import graph_outputs
from isic_tf.serving.patients import graph_lesions
from isic_tf.serving.patients.graph_lesions import PatientLesions
from tfrecord_tools import errors


def check_stage(stage: Stage) -> None:
    """Checks that a graph can compute what a patient-context model uses.

    Args:
        stage: See `context_stage.read_stage`.

    Raises:
        ConfigError: It uses a feature that a graph does not have.
    """
    if not stage.uses_metadata:
        return
    pair = tf.zeros([2], tf.float64)
    codes = dict.fromkeys(lesion_features.COLUMNS, tf.zeros([2], tf.int64))
    lesions = PatientLesions(pair, codes, dict.fromkeys(stage.numbers, pair), tf.zeros([2, 1, 1]))
    known = graph_lesions.tabulate(lesions, stage.patient_context, stage.uses_embeddings, stage.numbers)
    lacking = [name for name in stage.columns if name not in known]
    if lacking:
        raise errors.ConfigError(
            f"expected a patient-context model of features that can be exported, but it uses {', '.join(lacking)}; fit "
            "it again with this release of isic_tf.context"
        )


class PatientContext:
    """A patient-context model that is part of a graph.

    Attributes:
        variables: The weights of its networks, which the module that is saved must hold.
    """

    def __init__(self, stage: Stage) -> None:
        """Builds its networks.

        Args:
            stage: See `check_stage`.
        """
        self._stage = stage
        self.variables: list[tf.Variable] = []
        if isinstance(stage.model, set_model.SetModel):
            self._correct, self.variables = _make_set(stage.model)

    def judge(self, scores: tf.Tensor, others: PatientLesions) -> tf.Tensor:
        """Predicts the lesions of one patient together.

        Args:
            scores: float32 `[n]`, 0 to 1, of the image-level model.
            others: What else is known of the lesions; its logits are not read.

        Returns:
            float32 `[n]`, see `second_stage.apply_stage`.
        """
        clipped = tf.clip_by_value(tf.cast(scores, tf.float64), logit.LEAST, logit.MOST)
        lesions = others._replace(logit=tf.math.log(clipped) - tf.math.log1p(-clipped))
        if not self._stage.patient_context:
            return self._apply_model(lesions)
        return tf.cond(tf.size(scores) > 1, lambda: self._judge_several(lesions), lambda: self._judge_lone(scores))

    def _judge_several(self, lesions: PatientLesions) -> tf.Tensor:
        if self._stage.method in RELATIVE_METHODS:
            return tf.cast(relate(self._stage.method, lesions.logit), tf.float32)
        return self._apply_model(lesions)

    def _judge_lone(self, scores: tf.Tensor) -> tf.Tensor:
        """Judges a lesion without others: by the calibration, or halfway in the order of all lesions, itself."""
        if self._stage.lone_calibration is None:
            return tf.fill(tf.shape(scores), 0.5)
        return graph_outputs.calibrate(self._stage.lone_calibration, scores)

    def _apply_model(self, lesions: PatientLesions) -> tf.Tensor:
        stage = self._stage
        columns = graph_lesions.tabulate(lesions, stage.patient_context, stage.uses_embeddings, stage.numbers)
        inputs = tf.stack([columns[name] for name in stage.columns], axis=1)
        if isinstance(stage.model, gradient_boosting.Boost):
            found = apply_boost(stage.model, inputs)
        else:
            found = self._correct(inputs)
        return tf.cast(tf.sigmoid(found), tf.float32)


def relate(method: str, own: tf.Tensor) -> tf.Tensor:
    """Puts the logits of a patient's lesions in relation to each other, as `second_stage` does.

    Args:
        method: One of `config.RELATIVE_METHODS`.
        own: float64 `[n]`.

    Returns:
        float64 `[n]`, 0 to 1.

    Examples:
        >>> relate("rank", tf.constant([0.1, 2.0], tf.float64)).numpy().tolist()
        [0.25, 0.75]
    """
    probability = tf.sigmoid(own)
    count = tf.cast(tf.size(own), tf.float64)
    if method == "rank":
        return (graph_lesions.rank(probability) - 0.5) / count
    if method == "ratio":
        return probability / (probability + tf.reduce_sum(probability) / count)
    from_mean = own - tf.reduce_sum(own) / count
    spread = tf.sqrt(tf.reduce_sum(tf.square(from_mean)) / count)
    z_score = tf.where(spread > NO_SPREAD, from_mean / tf.maximum(spread, NO_SPREAD), 0)
    return tf.math.erfc(-z_score / np.sqrt(2)) / 2


def apply_boost(model: gradient_boosting.Boost, inputs: tf.Tensor) -> tf.Tensor:
    """Computes the logits that `gradient_boosting.apply` computes.

    Args:
        model: Boosted trees and a logistic regression.
        inputs: float64 `[n, columns]`.

    Returns:
        float64 `[n]`.
    """
    # A leaf compares nothing, and may name any column.
    column = np.where(model.left == np.arange(len(model.left)), 0, model.column)

    def descend(node: tf.Tensor, _: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        values = tf.gather(inputs, tf.gather(column, node), batch_dims=1)
        goes_right = values > tf.gather(model.threshold, node)
        reached = tf.where(goes_right, tf.gather(model.right, node), tf.gather(model.left, node))
        return reached, tf.reduce_any(reached != node)

    start = tf.repeat(model.roots[np.newaxis], tf.shape(inputs)[0], axis=0)
    leaf, _ = tf.while_loop(lambda _, is_moving: is_moving, descend, (start, tf.constant(True)))
    sums = tf.reduce_sum(tf.gather(model.value, leaf), axis=1)
    return sums + tf.linalg.matvec(inputs, tf.constant(model.coefficients)) + model.intercept


def _make_set(model: set_model.SetModel) -> tuple[Callable[[tf.Tensor], tf.Tensor], list[tf.Variable]]:
    """Returns the function of `set_model.apply` for one patient, and the weights of its networks."""
    members = [_build_member(model, weights) for weights in model.members]

    def correct(inputs: tf.Tensor) -> tf.Tensor:
        features, base = encode_set(model, inputs)
        sets = [features[tf.newaxis], tf.ones([1, tf.shape(inputs)[0]]), tf.cast(base, tf.float32)[tf.newaxis, :, None]]
        corrections = [tf.cast(member(sets, training=False)[0, :, 0], tf.float64) for member in members]
        return base + model.share * tf.add_n(corrections) / len(corrections)

    return correct, [variable for member in members for variable in member.variables]


def _build_member(model: set_model.SetModel, weights: Sequence[np.ndarray]) -> tf.keras.Model:
    network = build_set_transformer(**model.network)
    network.set_weights(weights)
    return tf.keras.Model(network.inputs, network.get_layer("correction").output)


def encode_set(model: set_model.SetModel, inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the features of a set model's networks, float32 `[n, dim]`, and the base of its logits, float64 `[n]`.

    Args:
        model: See `set_model.fit`.
        inputs: float64 `[n, d]`, finite, the logit first.
    """
    standardized = (inputs - model.mean) / model.scale
    base = model.slope * inputs[:, 0] + model.intercept
    # No input of a patient-context model is unknown.
    unknown = tf.zeros([tf.shape(inputs)[0], int(model.missing.sum())], tf.float64)
    clipped = tf.clip_by_value(standardized, -set_model.MAX_FEATURE, set_model.MAX_FEATURE)
    return tf.cast(tf.concat([clipped, unknown, base[:, tf.newaxis]], axis=1), tf.float32), base
