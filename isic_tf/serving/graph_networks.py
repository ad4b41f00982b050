"""The networks of a run in a TensorFlow graph: from images of their size to the outputs of a signature."""

from collections.abc import Callable, Sequence
from typing import cast

import tensorflow as tf

from isic_tf.data import decoding, targets
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.models import patient_context_head
from isic_tf.serving import graph_metadata, graph_outputs, run_parts

# From uint8 images `[n, S, S, 3]` and the metadata of a signature to its outputs, and embeddings `[n, networks, f]`.
ImageJudge = Callable[[tf.Tensor, Sequence[tf.Tensor]], tuple[dict[str, tf.Tensor], tf.Tensor]]


def logits(models: Sequence[tf.keras.Model], images: tf.Tensor, metadata: tf.Tensor | None) -> list[tf.Tensor]:
    """Computes the logits of each network.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        images: uint8 `[b, S, S, 3]`.
        metadata: float32 `[b, m]`, see `graph_metadata.encode_codes`; None for networks without metadata.

    Returns:
        List of float32 `[b, outputs]`, one per network.
    """
    scaled = decoding.to_float(images)
    inputs = scaled if metadata is None else [scaled, metadata]
    return [model(inputs, training=False) for model in models]


def make_image_judge(
    models: Sequence[tf.keras.Model],
    fields: str,
    classes: targets.ClassSet,
    parts: run_parts.RunParts,
    embed: bool = False,
) -> ImageJudge:
    """Creates the function that predicts images, each by itself.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        fields: See `clinical_metadata.parse`.
        classes: The classes that the classifiers predict.
        parts: What the run has besides its networks.
        embed: Whether embeddings are returned, the pooled features as the mean over the versions.

    Returns:
        Function from uint8 images `[n, S, S, 3]` and their metadata (see `graph_metadata.list_signature`) to the
        outputs that `saved_model.make_module` lists, and the embeddings, float32 `[n, networks, f]`; f is 0 for none.
    """
    finds_unlike = any(parts.detectors)
    has_context = bool(patient_context_head.find_context_layer(models[0]))
    views = test_time_augmentation.make_views(parts.versions, "dihedral", {}, seed=0) if parts.versions > 1 else None
    layer = "pooled" if embed else ""
    score = predictor.make_replica_outputs(models, views, parts.versions, layer, classes, finds_unlike)

    def judge(pixels: tf.Tensor, values: Sequence[tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        encoded = graph_metadata.encode_values(values, fields)
        count, inputs = _fill(pixels, [] if encoded is None else [encoded])
        keys = tf.zeros([tf.shape(inputs[0])[0]], tf.int64)
        scores, embeddings, features = score([*inputs, keys])
        found = name_outputs(_settle(scores, classes))
        if parts.calibration and not has_context:
            found["calibrated"] = graph_outputs.calibrate(parts.calibration, found["prediction"])
        if finds_unlike:
            found["unlike"] = graph_outputs.measure_unlike(parts.detectors, features)
        return {name: values[:count] for name, values in found.items()}, embeddings[:count]

    return judge


def _settle(scores: tf.Tensor, classes: targets.ClassSet) -> tf.Tensor:
    """Does what `targets.settle` does, after the mean over the versions."""
    if not classes.multi_label:
        return scores
    return tf.concat([targets.positive_probability(scores[:, 1:], classes)[:, tf.newaxis], scores[:, 1:]], axis=1)


def _fill(pixels: tf.Tensor, metadata: Sequence[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
    """Fills a batch up to two images; returns the number of images before, and the images and metadata.

    With oneDNN, a graph of TensorFlow 2.21 takes fifteen times as long for one image as for two (fused operations;
    measured with EfficientNet-Lite0), and on some CPUs fails on none.
    """
    count = tf.shape(pixels)[0]
    missing = tf.maximum(2 - count, 0)
    parts = [tf.convert_to_tensor(part) for part in (pixels, *metadata)]
    return count, [tf.pad(part, [[0, missing]] + [[0, 0]] * (part.shape.rank - 1)) for part in parts]


def make_patient_judge(
    models: Sequence[tf.keras.Model], versions: int = 1
) -> Callable[[tf.Tensor, Sequence[tf.Tensor]], tuple[tf.Tensor, tf.Tensor]]:
    """Creates the function that predicts a patient's images together by the heads; see `patient_bag_predictor`.

    Args:
        models: Classifiers with a patient-context head, see `classifiers.build_classifier`.
        versions: Symmetries of a square over which the inputs of the heads are averaged, 1 to 8.

    Returns:
        Function from uint8 images `[n, S, S, 3]` of one patient and a list of their metadata (float32 `[n, m]`, or
        nothing) to the mean of the corrected scores, float32 `[n]`, and the embeddings, float32 `[n, networks, f]`.
    """
    heads = [cast(patient_context_head.Context, patient_context_head.find_context_layer(model)) for model in models]
    bodies = [
        tf.keras.Model(model.inputs[:-1], model.get_layer(patient_context_head.HEAD_INPUT).output) for model in models
    ]

    def see(images: tf.Tensor, known: Sequence[tf.Tensor]) -> tf.Tensor:
        scaled = decoding.to_float(images)
        return tf.stack([body([scaled, *known] if known else scaled, training=False) for body in bodies])

    def judge(pixels: tf.Tensor, metadata: Sequence[tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        count, (images, *known) = _fill(pixels, metadata)
        seen = see(images, known)
        # A loop of the graph holds the networks once more, instead of once for each version.
        for version in tf.range(1, versions):
            seen = seen + see(test_time_augmentation.dihedral(images, version), known)
        seen = seen / versions
        mask = tf.sequence_mask([count], tf.shape(images)[0], tf.float32)
        scores = []
        for place, head in enumerate(heads):
            own = seen[place : place + 1]
            logits = head.sets([own[..., :-1], mask, own[..., -1:]], training=False)
            scores.append(tf.sigmoid(logits[0, :, 0]))
        embeddings = tf.transpose(seen[:, :count, :-1], [1, 0, 2])
        return tf.add_n(scores)[:count] / len(scores), embeddings

    return judge


def name_outputs(scores: tf.Tensor) -> dict[str, tf.Tensor]:
    """Names the outputs of a signature.

    Args:
        scores: Probabilities `[n]`, or scores `[n, 1 + classes]`, see `targets.mean_scores`.

    Returns:
        Dict of `prediction`, `[n]`, and for scores `probabilities`, `[n, classes]`.
    """
    if scores.shape.rank == 1:
        return {"prediction": scores}
    return {"prediction": scores[:, 0], "probabilities": scores[:, 1:]}
