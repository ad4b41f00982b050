"""Fits the patient-context stage on out-of-fold predictions, or applies a fitted one."""

import dataclasses
import logging

import numpy as np
import pandas as pd

from isic_tf.artifacts import embedding_archive, prediction_files, prediction_sidecar, submission_format
from isic_tf.distribution import strategies
from isic_tf.distribution.config import StrategyConfig
from isic_tf.metrics import logit
from isic_tf.patient_context import context_ablation, lesion_features, second_stage
from isic_tf.postprocessing import ensemble_predictions, out_of_fold
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables

_LOG = logging.getLogger(__name__)

_PERMUTATIONS = {"boost": 10, "set": 1}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContextConfig(StrategyConfig):
    """How to fit or apply a patient-context model."""

    oof: tuple[str, ...] | None = cli.option(
        None, help="Out-of-fold predictions of image-level models (oof.csv of runs), one per model, to fit on."
    )
    predictions: tuple[str, ...] | None = cli.option(
        None, help="Prediction files or submissions of the same models in the same order, to apply --model_dir to."
    )
    metadata: str = cli.option(
        help="CSV file with image_name, patient_id and, where known, age_approx, sex, anatom_site_general_challenge; with --oof also target."
    )
    embeddings: str | None = cli.option(
        None,
        help="NumPy archive (.npz) of the embeddings of these images, from isic_tf.predict --embeddings; with --oof, from --out_of_fold.",
    )
    method: str = cli.option(
        "boost",
        choices=second_stage.METHODS,
        help="z_score, ratio, rank: the score relative to the patient's other lesions, nothing is fitted; boost: gradient boosting on features of both; set: a set transformer over all lesions of a patient.",
    )
    no_patient_context: bool = cli.option(
        False,
        help="Use score and metadata only, where rules forbid the patient's other images; the sidecar records this.",
    )
    join: str = cli.option(
        "equal",
        choices=("equal", "inner"),
        help="equal: all files must hold the same images; inner: use the images that all files hold.",
    )
    permutations: int | None = cli.option(
        None,
        lower=0,
        upper=10_000,
        help="Evaluations with shuffled patients, as a control; 10 if not given, 1 for set.",
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Random seed.")
    model_dir: str | None = cli.option(
        None, help="Directory of the patient-context model: written with --oof, read with --predictions."
    )
    output: str = cli.option(
        help="CSV file to write: image_name, prediction, stage_one (with --oof also fold, target)."
    )
    sample_submission: str | None = cli.option(
        None, help="With --predictions: write a submission instead, image_name, target, in the order of this file."
    )


def run_context(config):
    """Fits a second stage and writes its honest out-of-fold predictions, or applies one to other patients.

    Args:
        config: `ContextConfig`.

    Raises:
        IsicError: Flags do not go together, a file is damaged, or names do not fit.
    """
    strategy = config.strategy
    if bool(config.oof) == bool(config.predictions):
        raise errors.IsicError("expected --oof to fit a second stage on, or --predictions to apply --model_dir to")
    if config.predictions and not config.model_dir:
        raise errors.IsicError("expected --model_dir with --predictions: the folder that a call with --oof wrote")
    if config.oof and config.sample_submission:
        raise errors.IsicError("--sample_submission is for --predictions; out-of-fold predictions are no submission")
    if config.no_patient_context and config.method != "boost":
        raise errors.IsicError(
            f"--method={config.method} judges by the patient's others; without them give --method=boost"
        )
    if config.predictions:
        apply(
            config.predictions,
            config.metadata,
            config.embeddings,
            config.join,
            config.model_dir,
            config.output,
            config.sample_submission,
        )
        return
    known = out_of_fold.read(config.oof, config.metadata, config.join)
    for note in known.notes:
        _LOG.info(f"note: {note}")
    given = gather(known.names, logit.logits(known.scores), config.metadata, config.embeddings)
    count = _PERMUTATIONS.get(config.method, 0) if config.permutations is None else config.permutations
    strategy = strategies.choose_strategy(strategy, config.tpu) if config.method == "set" else None
    found, figures = context_ablation.evaluate_gain(
        known, given, config.method, not config.no_patient_context, count, config.seed, strategy
    )
    if config.model_dir:
        stage = second_stage.fit(
            config.method, given, known.targets, not config.no_patient_context, config.seed, strategy
        )
        second_stage.save(stage, config.model_dir, figures)
        _LOG.info(f"wrote the second stage to {config.model_dir}; predict --context applies it")
    columns = {"prediction": found, "stage_one": known.scores.mean(axis=1), "fold": known.folds}
    table = pd.DataFrame({"image_name": known.names, **columns, "target": known.targets})
    write(table, config.output, config.method, not config.no_patient_context, config.oof)


def apply(predictions, metadata, embeddings, join, model_dir, output, sample_submission):
    """Applies a second stage to prediction files; see `context`."""
    stage = second_stage.load(model_dir)
    names, scores = ensemble_predictions.read_scores(predictions, join)
    order = submission_format.match_sample(names, sample_submission) if sample_submission else names
    given = gather(names, logit.logits(scores), metadata, embeddings)
    found = second_stage.apply(stage, given)
    table = pd.DataFrame({"image_name": names, "prediction": found, "stage_one": scores.mean(axis=1)})
    if sample_submission:
        table = table.set_index("image_name").loc[order, ["prediction"]].reset_index()
        table = table.rename(columns={"prediction": "target"})
    write(table, output, stage.method, stage.patient_context, predictions)


def write(table, output, method, patient_context, stage_one):
    """Writes a prediction file and its sidecar, which tells whether the patients' other images had a part."""
    # What stage one looked at counts too.
    used = patient_context or prediction_sidecar.used_patient_context(stage_one)
    prediction_files.write_predictions(output, table, patient_context=used, made_by="isic_tf.context", method=method)
    said = {True: "the patients' other images had a part in it", False: "no other image of a patient had a part in it"}
    _LOG.info(
        said.get(used, "no other image of a patient was used here; whether stage one did, no sidecar beside it says")
    )


def gather(names, logits, metadata, embeddings):
    """Reads what is known of the images, in their order.

    Args:
        names: Images, `[n]`.
        logits: Float `[n, files]`.
        metadata: See `context`.
        embeddings: See `context`.

    Returns:
        `lesion_features.Lesions`.

    Raises:
        IsicError: The table or the archive lacks an image.
    """
    table = csv_tables.read_table(metadata, ("image_name", "patient_id"))
    csv_tables.refuse_repeats(metadata, table, "hold")
    place = pd.Index(table["image_name"], dtype=object).get_indexer(names)
    if (place < 0).any():
        first = names[np.argmax(place < 0)]
        raise errors.IsicError(f"{(place < 0).sum()} images are not in {metadata}, {first} first; check --metadata")
    rows = table.iloc[place].reset_index(drop=True)
    absent = [name for name in lesion_features.COLUMNS if name not in rows]
    if absent:
        _LOG.info(f"note: {metadata} has no {', '.join(absent)}; judged without")
    features = embedding_archive.read_embeddings(embeddings, names) if embeddings else None
    return lesion_features.gather(logits, rows["patient_id"], rows, features)
