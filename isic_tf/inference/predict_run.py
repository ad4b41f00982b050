"""Predicts records or image files with the trained folds of a run."""

import contextlib
import dataclasses
import logging
import os

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.artifacts import prediction_files, run_directory, submission_format
from isic_tf.data import clinical_metadata, image_files, input_pipeline, read_errors, record_metadata
from isic_tf.distribution import cpu, strategies, workers
from isic_tf.distribution.config import StrategyConfig
from isic_tf.inference import (
    fold_selection,
    patient_bag_predictor,
    prediction_shards,
    predictor,
    test_time_augmentation,
)
from isic_tf.metrics import logit
from isic_tf.models import classifiers, patient_context_head
from isic_tf.models.config import ModelConfig
from isic_tf.patient_context import lesion_features, second_stage
from isic_tf.postprocessing import calibration
from tfrecord_tools import cli, errors, schema
from tfrecord_tools.io import filesystem, record_index

_LOG = logging.getLogger(__name__)

# Image files in a part.
_FILES = 256


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(StrategyConfig):
    """How a run predicts records or image files."""

    workdir: str = cli.option(
        help="Run directory with at least one trained fold. The predictions of all its folds are averaged."
    )
    records: str | None = cli.option(None, help="Glob pattern of shards, in quotes; separate several with commas.")
    images: str | None = cli.option(None, help="Directory of JPEG, PNG or DICOM files, in place of --records.")
    csv: str | None = cli.option(
        None,
        help="With --images: CSV file with image_name, the columns of the run's --metadata, and optionally patient_id.",
    )
    output: str = cli.option(help="CSV file to write: image_name, prediction.")
    sample_submission: str | None = cli.option(
        None, help="Write a submission instead: image_name, target, in the order of this file."
    )
    out_of_fold: bool = cli.option(
        False,
        help="Predict each image only with folds that did not train on it or its patient; adds the columns fold and target.",
    )
    tta: int = cli.option(
        1,
        lower=1,
        upper=1000,
        help="Test-time augmentation: number of versions of each image whose probabilities are averaged.",
    )
    tta_policy: str = cli.option(
        "dihedral",
        choices=test_time_augmentation.KINDS,
        help="Versions: dihedral (the 8 symmetries of a square), or training (samples of the augmentation policy of the run).",
    )
    embeddings: str | None = cli.option(
        None, help="NumPy archive (.npz) to write as well: the pooled features of each fold."
    )
    calibrated: bool = cli.option(False, help="Apply the run's calibration.json, see isic_tf.calibrate.")
    prevalence: float | None = cli.option(
        None, help="With --calibrated: prevalence of malignant lesions where the predictions are used, such as 0.0176."
    )
    context: str | None = cli.option(
        None,
        help="Directory of a patient-context model fitted by isic_tf.context: corrects each image by the patient's other images, and adds the column stage_one.",
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of the samples of --tta_policy=training.")
    batch_size: int = cli.option(32, lower=1, help="Images per step on one replica.")
    threads: int = cli.option(
        0, lower=0, upper=1024, help="Number of parallel image decoders; 0 uses all available cores."
    )


def predict(config):
    """Averages the probabilities of a run's folds and writes a prediction file, or a submission.

    Args:
        config: `PredictConfig`.

    Raises:
        IsicError: There is no trained fold, no shard matches, a shard or file is corrupt, a test record is labelled,
            or the names are not the sample's.
    """
    strategy = config.strategy
    threads = config.threads
    _check_flags(
        config.records,
        config.images,
        config.csv,
        config.out_of_fold,
        config.calibrated,
        config.prevalence,
        config.context,
    )
    run, paths = run_directory.read_network(config.workdir), run_directory.trained_folds(config.workdir)
    # Before the work, not after it: all that can fail on names and paths.
    for path in filter(None, (config.output, config.embeddings)):
        if tf.io.gfile.isdir(path):
            raise errors.IsicError(f"expected a file's name for --output and --embeddings, got the folder {path}")
    scale = calibration.read_calibration(config.workdir) if config.calibrated else None
    stage = _read_stage(config.context) if config.context else None
    view = test_time_augmentation.make_views(config.tta, config.tta_policy, run, config.seed)
    strategy = strategies.choose_strategy(strategy, config.tpu, {"records": config.records}, {"images": config.images})
    threads = threads or cpu.count_cores()
    bags = run.get("context") == "set"
    rows = list_rows(config.records, config.images, config.csv, run, stage)
    rows = rows.assign(networks=fold_selection.choose_networks(paths, rows, config.out_of_fold))
    # What is finished together: a shard, or a block of files, and the same networks.
    rows = rows.assign(part=pd.factorize(rows["networks"] + " " + rows["unit"].astype(str))[0])
    order = read_sample(config.sample_submission, rows["image_name"].tolist()) if config.sample_submission else None
    _LOG.info(
        f"{len(rows)} images, {len(paths)} fold(s), {config.tta} version(s), {strategies.describe_strategy(strategy)}"
    )
    if config.calibrated:
        _note_calibration(scale, rows, config.tta)
    if bags or stage:
        _LOG.info(patient_bag_predictor.describe(rows))
    chief, folder = workers.is_chief(strategy), _parts_folder(config.output, strategy)
    options = {"view": view if config.tta > 1 or config.tta_policy == "training" else None, "count": config.tta}
    looks = bool(config.embeddings or (stage and stage.looks))
    options["embed"] = patient_context_head.SEEN if bags else "pooled" if looks else ""
    facts = (
        config.tta,
        config.tta_policy,
        config.seed,
        options["embed"],
        *_describe_inputs(run, rows, config.tta_policy),
    )
    done = prediction_shards.begin(folder, prediction_shards.digest(paths, *facts))
    reader = (
        image_files.open_reader(rows, run["image_size"], run, threads) if config.images else contextlib.nullcontext()
    )
    left = rows[~rows["part"].isin(done)]
    with read_errors.explained_read_errors(sorted(set(rows["shard"])) if config.records else []), reader as read:
        networks = _predict_parts(
            left, len(rows), paths, run, strategy, options, read, config.batch_size, threads, folder
        )
    if chief:
        table = prediction_shards.read(folder, rows["part"].unique())
        if bags:
            table = patient_bag_predictor.correct_parts(folder, table, rows, networks)
        # Without the logit that the set head sees besides.
        width = -1 if bags else None
        if stage:
            table = _judge_again(stage, table, rows, folder, width)
        if config.embeddings:
            folds = [os.path.basename(os.path.dirname(path)) for path in paths]
            prediction_shards.join_embeddings(
                folder, rows["part"].unique(), table["image_name"].tolist(), folds, config.embeddings, width
            )
        if config.out_of_fold:
            table = fold_selection.add_folds(table, rows, paths)
        table = table.set_index("image_name").loc[order or rows["image_name"]].reset_index()
        used = bags or bool(stage and stage.patient_context)
        facts = {"folds": len(paths), "tta": config.tta, "calibrated": config.calibrated}
        if scale:
            table["prediction"] = calibration.apply_calibration(
                scale, table["prediction"].to_numpy(), config.prevalence
            )
        if order:
            table = table.drop(columns="stage_one", errors="ignore").rename(columns={"prediction": "target"})
        prediction_files.write_predictions(
            config.output, table, patient_context=used, made_by="isic_tf.predict", **facts
        )
    filesystem.rmtree(folder)


def _check_flags(records, images, csv, out_of_fold, calibrated, prevalence, context):
    if bool(records) == bool(images):
        raise errors.IsicError("expected one of --records and --images")
    if csv and records:
        raise errors.IsicError(
            "expected --csv with --images alone; records hold what the network sees, so leave it out"
        )
    if prevalence is not None and not calibrated:
        raise errors.IsicError("expected --calibrated with --prevalence, which corrects calibrated probabilities")
    calibration.refuse_prevalence(prevalence)
    if context and calibrated:
        raise errors.IsicError("expected --context without --calibrated: the second stage gives probabilities itself")
    if context and out_of_fold:
        raise errors.IsicError("expected --context without --out_of_fold: isic_tf.context --oof writes those")


def _read_stage(folder):
    stage = second_stage.load(folder)
    if stage.files != 1:
        remedy = "predict with each, then give the files to isic_tf.context --predictions"
        raise errors.IsicError(f"{folder} was fitted on {stage.files} runs, here is one: {remedy}")
    return stage


def _judge_again(stage, table, rows, folder, width):
    """Replaces predictions by those of a second stage; gives those of the first as `stage_one`."""
    own = rows.set_index("image_name").loc[table["image_name"]].reset_index()
    looks = prediction_shards.read_shard_embeddings(folder, rows["part"].unique())[..., :width] if stage.looks else None
    given = lesion_features.gather(logit.logits(table[["prediction"]].to_numpy()), own["patient_id"], own, looks)
    return table.assign(stage_one=table["prediction"], prediction=second_stage.apply(stage, given))


def _note_calibration(scale, rows, tta):
    """Says where calibrated predictions look better than they are, or are of other scores than were calibrated."""
    held_out = rows["networks"].str.contains("0").sum()
    if held_out:
        _LOG.info(
            f"note: out-of-fold predictions of {held_out} images are what calibrations are fitted to, so calibrated "
            "they flatter; isic_tf.calibrate prints how good they are on other patients"
        )
    if tta > 1 and calibration.is_of_training(scale):
        _LOG.info(
            f"note: the calibration is that of one version an image, these are means of {tta}; predict --out_of_fold "
            "with the same --tta gives what isic_tf.calibrate --oof fits one to"
        )


def _parts_folder(output, strategy):
    """Gives the folder of this process's parts; says where others predict the same."""
    if workers.is_single_worker(strategy):
        return f"{output}.parts"
    _LOG.info(f"note: each of {workers.count_workers()} workers predicts all images; the first writes them")
    number = strategy.cluster_resolver.task_id
    return f"{output}.parts" if workers.is_chief(strategy) else f"{output}.parts-of-worker-{number}"


def _describe_inputs(run, rows, tta_policy):
    """Lists what else than weights and flags a part depends on: with any of it changed, parts are made anew."""
    policy = test_time_augmentation.read_tta_policy(run) if tta_policy == "training" else None
    # Metadata are in the rows. Of what is read later, the image bytes, size and time of change must do.
    sources = rows["path"] if "path" in rows else rows["shard"].unique()
    return run, policy, rows.to_csv(), prediction_shards.stamps(sources)


def list_rows(records, images, csv, run, stage=None):
    """Lists what is to be predicted, as rows for `input_pipeline.make_eval_dataset`, with `unit`: a shard, or a block of files."""
    fields, with_patients = run.get("metadata", ""), run.get("context") == "set" or bool(stage)
    if images:
        rows = image_files.add_patients(
            image_files.list_files(images, csv, fields), csv, lesion_features.COLUMNS if stage else ()
        )
        return rows.assign(unit=rows.index // _FILES, known_target=schema.UNKNOWN)
    # What the second stage sees goes beyond what the network does.
    columns = list(lesion_features.COLUMNS) if stage else clinical_metadata.columns(fields)
    rows = record_metadata.list_records(
        record_index.match_shards(records), columns + (["patient_id"] if with_patients else [])
    )
    if with_patients:
        rows = rows.rename(columns={"patient_id": "patient_code"})
    labelled = rows["labelled"] & rows["shard"].map(os.path.basename).str.startswith("test")
    if labelled.any():
        raise errors.IsicError(
            f"expected no label in test records, {labelled.sum()} have one, {rows.loc[labelled, 'image_name'].iloc[0]} "
            "first; name shards of training records train*, or rebuild them with tfrecord_tools.build --split=test"
        )
    rows = record_metadata.add_index(rows).assign(unit=rows["shard"])
    return record_metadata.add_patients(rows) if with_patients else rows


def _predict_parts(rows, total, paths, run, strategy, options, reader, batch_size, threads, folder):
    """Predicts rows, and writes each part once all of it is there; gives the networks of all folds."""
    # Workers make variables together, each whatever it has left; a second stage is asked when all parts are there.
    if rows.empty and workers.is_single_worker(strategy) and run.get("context") != "set":
        return []
    with strategy.scope():
        networks = [classifiers.build_from_config(ModelConfig.from_text(run), path) for path in paths]
    fields, found = run.get("metadata", ""), {}
    # Each choice of networks has a graph of its own, which TensorFlow would take for a mistake.
    tf.get_logger().addFilter(_is_no_retracing)
    members = rows.groupby("part")["image_name"].agg(list)
    places = dict(zip(rows["image_name"], rows["part"], strict=True))
    with tqdm(total=total, initial=total - len(rows), unit="image", disable=None) as progress:
        for chosen, own in rows.groupby("networks", sort=False):
            kept = [network for network, digit in zip(networks, chosen, strict=True) if digit == "1"]
            dataset = input_pipeline.make_eval_dataset(
                own,
                image_size=run["image_size"],
                batch_size=batch_size * workers.count_local_replicas(strategy),
                threads=threads,
                known=clinical_metadata.encode(own, fields) if fields else None,
                images=reader,
            )
            for names, *values in predictor.make_predictor(kept, strategy, **options)(dataset):
                for name, *value in zip(names, *values, strict=True):
                    part = places[name]
                    found.setdefault(part, {})[name] = _spread(value, chosen)
                    if len(found[part]) == len(members[part]):
                        _write_part(folder, part, members[part], found.pop(part))
                progress.update(len(names))
    if found:
        raise errors.IsicError(
            f"{sum(map(len, found.values()))} images came and others of their shards did not; index again"
        )
    return networks


def _is_no_retracing(record):
    return "retracing" not in record.getMessage()


def _spread(value, chosen):
    """Puts the embeddings of the chosen networks in the places of all, NaN elsewhere."""
    probability, *embedding = value
    if not embedding:
        return probability, None
    whole = np.full((len(chosen), embedding[0].shape[-1]), np.nan, np.float32)
    whole[[digit == "1" for digit in chosen]] = embedding[0]
    return probability, whole


def _write_part(folder, part, names, found):
    values, embeddings = zip(*(found[name] for name in names), strict=True)
    table = pd.DataFrame({"image_name": names, "prediction": values})
    prediction_shards.write(folder, part, table, None if embeddings[0] is None else np.stack(embeddings))


def read_sample(path, names):
    """Reads a sample submission and checks that it asks for just the images that there are.

    Args:
        path: CSV with `image_name`.
        names: Names of the records.

    Returns:
        List of names in the sample's order.

    Raises:
        IsicError: A name comes twice, is missing from the records, or is extra there.
    """
    order = submission_format.read_order(path)
    problems = submission_format.find_problems(names, order)
    if problems:
        raise errors.IsicError(
            f"the images are not those of {path}: {'; '.join(problems)}; check --records or --images"
        )
    return order
