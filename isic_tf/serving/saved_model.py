"""Exports the networks of a run as one TensorFlow graph, from image files to probabilities, that needs no isic-tf."""

import os
from collections.abc import Callable, Sequence

import tensorflow as tf

from isic_tf.data import targets
from isic_tf.models import patient_context_head
from isic_tf.serving import graph_images, graph_metadata, graph_networks, graph_outputs, run_parts
from isic_tf.serving.patients import graph_context, patient_signature
from tfrecord_tools.io import filesystem

# From prepared images and their metadata to outputs.
_Judge = Callable[[tf.Tensor, Sequence[tf.Tensor]], dict[str, tf.Tensor]]
# Signatures, and the functions of the module that they are of.
_SIGNATURES = {
    "serving_default": "predict",
    "pixels": "predict_pixels",
    "patient": "predict_patient",
    "patient_pixels": "predict_patient_pixels",
    "calibrate": "calibrate",
}


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

    `predict_patient` and `predict_patient_pixels` take the images of one patient in the same ways. With a
    patient-context head (`--context=set`), `prediction` is that of each beside the others; these two alone return
    `calibrated`, because the calibration of such a run is fitted to these. With a patient-context model, they also take
    the metadata that it uses, see `patient_signature.list_signature`, and also return `context_probability`, float32
    `[n]`, what it makes of `prediction`.

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
    embed = bool(parts.stage and parts.stage.uses_embeddings)
    prepared = tf.TensorSpec([None, image_size, image_size, 3], tf.uint8, "pixels")
    judge = graph_networks.make_image_judge(models, fields, classes, parts, embed)

    # These two are traced once for all signatures.
    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(files: tf.Tensor) -> tf.Tensor:
        return graph_images.decode(files, image_size, parts.preprocessing)

    @tf.function(input_signature=[prepared, known])
    def judge_images(pixels: tf.Tensor, values: Sequence[tf.Tensor]) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        return judge(pixels, values)

    def add(name: str, judge: _Judge, specs: Sequence[tf.TensorSpec]) -> None:
        @tf.function(input_signature=[prepared, *specs])
        def predict_pixels(pixels: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
            return judge(pixels, values)

        @tf.function(input_signature=[tf.TensorSpec([None], tf.string, "image"), *specs])
        def predict(image: tf.Tensor, *values: tf.Tensor) -> dict[str, tf.Tensor]:
            return predict_pixels(decode(image), *values)

        setattr(module, name, predict)
        setattr(module, f"{name}_pixels", predict_pixels)

    add("predict", lambda pixels, values: judge_images(pixels, list(values))[0], known)
    if parts.stage or patient_context_head.find_context_layer(models[0]):
        context = graph_context.PatientContext(parts.stage) if parts.stage else None
        module.context = context.variables if context else []
        judge_patient = patient_signature.make_patient_judge(models, fields, parts, judge_images, context)
        add("predict_patient", judge_patient, patient_signature.list_signature(fields, parts.stage))
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
    with patient context `patient` (`predict_patient`) and `patient_pixels` (`predict_patient_pixels`).

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
    signatures = {key: getattr(module, name) for key, name in _SIGNATURES.items() if hasattr(module, name)}
    tf.saved_model.save(module, directory, signatures=signatures)
    directories = (directory, os.path.join(directory, "variables"))
    paths = [os.path.join(parent, name) for parent in directories for name in filesystem.listdir(parent)]
    return sum(filesystem.size(path) for path in paths if not filesystem.isdir(path)) / 1e6
