"""Exports the networks of a run as one TensorFlow graph, from image files to probabilities, that needs no isic-tf."""

import os
from collections.abc import Callable, Sequence
from typing import cast

import tensorflow as tf

from isic_tf.data import decoding, targets
from isic_tf.inference import predictor, test_time_augmentation
from isic_tf.models import patient_context_head
from isic_tf.serving import graph_images, graph_metadata, graph_outputs, run_parts
from tfrecord_tools.io import filesystem


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


def make_module(
    models: Sequence[tf.keras.Model],
    image_size: int,
    fields: str = "",
    classes: targets.ClassSet = targets.BINARY,
    parts: run_parts.RunParts = run_parts.NOTHING,
) -> tf.Module:
    """Creates the module that `tf.saved_model.save` writes.

    Its function `predict` takes `image` (JPEG or PNG files of any size, string `[n]`) and, for networks with metadata,
    those of `age_approx` (int64 `[n]`, years, -1 where unknown), `sex` and `anatom_site_general_challenge` (string
    `[n]`, the words of the schema, "" where unknown) and of the numeric columns (float32 `[n]`, NaN where unknown, see
    `graph_metadata.list_inputs`) that they use. Images are decoded and prepared as `predict --images` does, see
    `graph_images.decode`. Any other file or value fails with an `InvalidArgumentError`. Its function `predict_pixels`
    takes `pixels` instead, images that the client has prepared, uint8 `[n, S, S, 3]`, RGB.

    Both return `prediction`, float32 `[n]`; for several classes `probabilities`, float32 `[n, classes]`, in the order
    of the classes; with a calibration `calibrated`, float32 `[n]`; with detectors `unlike`, float32 `[n]`, above 1 for
    images unlike the training images.

    With a patient-context head (`--context=set`), `predict_patient` takes the images of one patient as `predict` does,
    and returns the `prediction` of each beside the others; it alone returns `calibrated`, because the calibration of
    such a run is fitted to these.

    With a calibration, `calibrate` takes `prediction` and `prevalence`, both float32 `[n]`, and returns `calibrated`.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side S of their images in pixels.
        fields: See `clinical_metadata.parse`.
        classes: The classes that the classifiers predict.
        parts: What the run has besides its networks.

    Returns:
        `tf.Module`.
    """
    module = tf.Module()
    # The graph alone would lose the variables. The models are not attached: Keras would save its layers too, and a
    # client would need them.
    module.networks = [model.variables for model in models]
    known = graph_metadata.list_signature(fields)
    finds_unlike = any(parts.detectors)
    has_context = bool(patient_context_head.find_context_layer(models[0]))
    views = test_time_augmentation.make_views(parts.versions, "dihedral", {}, seed=0) if parts.versions > 1 else None
    score = predictor.make_replica_outputs(models, views, parts.versions, "", classes, finds_unlike)

    @tf.function(input_signature=[tf.TensorSpec([None, image_size, image_size, 3], tf.uint8, "pixels"), *known])
    def predict_pixels(pixels: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        encoded = graph_metadata.encode_values(values, fields)
        count, inputs = _fill(pixels, [] if encoded is None else [encoded])
        keys = tf.zeros([tf.shape(inputs[0])[0]], tf.int64)
        scores, _, features = score([*inputs, keys])
        found = name_outputs(scores)
        if parts.calibration and not has_context:
            found["calibrated"] = graph_outputs.calibrate(parts.calibration, found["prediction"])
        if finds_unlike:
            found["unlike"] = graph_outputs.measure_unlike(parts.detectors, features)
        return {name: values[:count] for name, values in found.items()}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image"), *known])
    def predict(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
        return predict_pixels(graph_images.decode(image, image_size, parts.preprocessing), *values)

    module.predict, module.predict_pixels = predict, predict_pixels
    if has_context:
        judge = make_patient_judge(models, parts.versions)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image"), *known])
        def predict_patient(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
            pixels = graph_images.decode(image, image_size, parts.preprocessing)
            encoded = graph_metadata.encode_values(values, fields)
            found = {"prediction": judge(pixels, [] if encoded is None else [encoded])}
            # The calibration of such a run is fitted to scores beside the patient's other images.
            if parts.calibration:
                found["calibrated"] = graph_outputs.calibrate(parts.calibration, found["prediction"])
            return found

        module.predict_patient = predict_patient
    fitted = parts.calibration
    if fitted:
        single = [tf.TensorSpec([None], tf.float32, name) for name in ("prediction", "prevalence")]

        @tf.function(input_signature=single)
        def calibrate(prediction: tf.Tensor, prevalence: tf.Tensor) -> dict[str, tf.Tensor]:
            problem = ["expected a prevalence between 0 and 1 for every image, got", prevalence]
            is_valid = tf.reduce_all((prevalence > 0) & (prevalence < 1))
            with tf.control_dependencies([tf.debugging.Assert(is_valid, problem)]):
                return {"calibrated": graph_outputs.calibrate(fitted, prediction, prevalence)}

        module.calibrate = calibrate
    return module


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
) -> Callable[[tf.Tensor, Sequence[tf.Tensor]], tf.Tensor]:
    """Creates the function that predicts a patient's images together, in a graph; see `patient_bag_predictor`.

    Args:
        models: Classifiers with a patient-context head, see `classifiers.build_classifier`.
        versions: Symmetries of a square over which the inputs of the heads are averaged, 1 to 8.

    Returns:
        Function from uint8 images `[n, S, S, 3]` of one patient and a list of their metadata (float32 `[n, m]`, or
        nothing) to the mean of the corrected scores, float32 `[n]`.
    """
    heads = [cast(patient_context_head.Context, patient_context_head.find_context_layer(model)) for model in models]
    bodies = [
        tf.keras.Model(model.inputs[:-1], model.get_layer(patient_context_head.HEAD_INPUT).output) for model in models
    ]

    def see(images: tf.Tensor, known: Sequence[tf.Tensor]) -> tf.Tensor:
        scaled = decoding.to_float(images)
        return tf.stack([body([scaled, *known] if known else scaled, training=False) for body in bodies])

    def judge(pixels: tf.Tensor, metadata: Sequence[tf.Tensor]) -> tf.Tensor:
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
        return tf.add_n(scores)[:count] / len(scores)

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


def save(
    models: Sequence[tf.keras.Model],
    image_size: int,
    fields: str,
    directory: str,
    classes: targets.ClassSet = targets.BINARY,
    parts: run_parts.RunParts = run_parts.NOTHING,
) -> float:
    """Writes the module of `make_module` into a directory as a SavedModel.

    Its signatures are `serving_default` (`predict`), `pixels` (`predict_pixels`), with a calibration `calibrate`, and
    with a patient-context head `patient` (`predict_patient`).

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        image_size: Side of their images in pixels.
        fields: See `clinical_metadata.parse`.
        directory: Directory to write; new or empty.
        classes: See `make_module`.
        parts: See `make_module`.

    Returns:
        Size of the files in MB.
    """
    module = make_module(models, image_size, fields, classes, parts)
    signatures = {"serving_default": module.predict, "pixels": module.predict_pixels}
    if parts.calibration:
        signatures["calibrate"] = module.calibrate
    if hasattr(module, "predict_patient"):
        signatures["patient"] = module.predict_patient
    tf.saved_model.save(module, directory, signatures=signatures)
    directories = (directory, os.path.join(directory, "variables"))
    paths = [os.path.join(parent, name) for parent in directories for name in filesystem.listdir(parent)]
    return sum(filesystem.size(path) for path in paths if not filesystem.isdir(path)) / 1e6
