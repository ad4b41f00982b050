"""What a SavedModel says of the images of one patient together: its inputs, and the function from these to outputs."""

from collections.abc import Callable, Sequence

import tensorflow as tf

from isic_tf.data import clinical_metadata
from isic_tf.models import patient_context_head
from isic_tf.patient_context import lesion_features
from isic_tf.patient_context.second_stage import Stage
from isic_tf.serving import graph_metadata, graph_networks, graph_outputs, run_parts
from isic_tf.serving.patients import graph_context
from isic_tf.serving.patients.graph_lesions import PatientLesions

# What the patient-context model says, under the name that `diagnose` has for it.
OUTPUT = "context_probability"

Outputs = dict[str, tf.Tensor]


def join_fields(fields: str, stage: Stage | None) -> str:
    """Joins what the networks and a patient-context model use besides the images.

    Args:
        fields: Of the networks, see `clinical_metadata.parse`.
        stage: The patient-context model, see `context_stage.read_stage`; None without.

    Returns:
        Text for `clinical_metadata.parse` and `clinical_metadata.parse_numeric`.

    Examples:
        >>> join_fields("sex,area", Stage("rank", 1, False, True, [], None, None))
        'sex,area'
        >>> join_fields("sex,area", Stage("boost", 1, False, True, [], None, None, {"lesion_mm": [2.0, 1.0]}))
        'sex,area,age,site,lesion_mm'
    """
    further: list[str] = []
    if stage and stage.uses_metadata:
        further = [*clinical_metadata.FIELDS, *stage.numbers]
    given = [name.strip() for name in fields.split(",") if name.strip()]
    return ",".join(dict.fromkeys([*given, *further]))


def list_columns(fields: str, stage: Stage | None) -> list[str]:
    """Lists the columns of `list_signature`: those of the schema, then numeric ones.

    Args:
        fields: See `join_fields`.
        stage: See `join_fields`.

    Returns:
        Names as in tables.
    """
    joined = join_fields(fields, stage)
    return [*clinical_metadata.columns(joined), *clinical_metadata.parse_numeric(joined)]


def list_signature(fields: str, stage: Stage | None) -> list[tf.TensorSpec]:
    """Lists the inputs besides the images.

    Args:
        fields: See `join_fields`.
        stage: See `join_fields`.

    Returns:
        Specs, see `graph_metadata.list_signature`; float64 for numeric columns that the patient-context model uses, a
        tree of which may compare a number with the same number of the fit, which float32 would round.

    Examples:
        >>> stage = Stage("boost", 1, False, True, [], None, None, {"lesion_mm": [2.0, 1.0]})
        >>> [spec.dtype.name for spec in list_signature("sex,area", stage)]
        ['int64', 'string', 'string', 'float32', 'float64']
    """
    specs = graph_metadata.list_signature(join_fields(fields, stage))
    exact = stage.numbers if stage else ()
    return [
        tf.TensorSpec(spec.shape, tf.float64 if column in exact else spec.dtype, spec.name)
        for column, spec in zip(list_columns(fields, stage), specs, strict=True)
    ]


def make_patient_judge(
    models: Sequence[tf.keras.Model],
    fields: str,
    parts: run_parts.RunParts,
    judge_images: graph_networks.ImageJudge,
    context: graph_context.PatientContext | None,
) -> Callable[[tf.Tensor, Sequence[tf.Tensor]], Outputs]:
    """Creates the function that predicts the images of one patient together.

    Args:
        models: Classifiers, see `classifiers.build_classifier`.
        fields: See `clinical_metadata.parse`.
        parts: What the run has besides its networks.
        judge_images: See `graph_networks.make_image_judge`; with embeddings where the patient-context model uses them.
        context: The patient-context model of `parts`; None without.

    Returns:
        Function from uint8 images `[n, S, S, 3]` and their metadata (see `list_signature`) to outputs, see
        `saved_model.make_module`.
    """
    has_head = bool(patient_context_head.find_context_layer(models[0]))
    judge_by_heads = graph_networks.make_patient_judge(models, parts.versions) if has_head else None
    columns = list_columns(fields, parts.stage)
    specs = graph_metadata.list_signature(fields)

    def judge(pixels: tf.Tensor, values: Sequence[tf.Tensor]) -> Outputs:
        known = dict(zip(columns, values, strict=True))
        own = [
            tf.cast(known[column], spec.dtype) for column, spec in zip(list_columns(fields, None), specs, strict=True)
        ]
        if judge_by_heads:
            encoded = graph_metadata.encode_values(own, fields)
            scores, embeddings = judge_by_heads(pixels, [] if encoded is None else [encoded])
            found = {"prediction": scores}
            # The calibration of such a run is fitted to scores beside the patient's other images.
            if parts.calibration:
                found["calibrated"] = graph_outputs.calibrate(parts.calibration, scores)
        else:
            found, embeddings = judge_images(pixels, own)
        if context and parts.stage:
            lesions = _read_lesions(parts.stage, known, embeddings)
            found = {**found, OUTPUT: context.judge(found["prediction"], lesions)}
        return found

    return judge


def _read_lesions(stage: Stage, known: dict[str, tf.Tensor], embeddings: tf.Tensor) -> PatientLesions:
    codes, numbers = {}, {}
    if stage.uses_metadata:
        codes = {name: graph_metadata.read_codes(name, known[name]) for name in lesion_features.COLUMNS}
        numbers = {name: graph_metadata.read_numbers(name, known[name]) for name in stage.numbers}
    return PatientLesions(tf.zeros([0], tf.float64), codes, numbers, embeddings)
