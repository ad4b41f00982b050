"""Predicts records or image files with the trained folds of a run."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import prediction_files, run_directory, submission_format
from isic_tf.distribution import strategies, workers
from isic_tf.inference import (
    class_correction,
    context_stage,
    fold_selection,
    patient_bag_predictor,
    prediction_inputs,
    prediction_shards,
    resumable_prediction,
    test_time_augmentation,
)
from isic_tf.inference.config import PredictConfig, PredictFilesConfig
from isic_tf.inference.resumable_prediction import PredictionJob
from isic_tf.models.config import read_model_config
from isic_tf.novelty import detector, detector_file
from isic_tf.patient_context import second_stage
from isic_tf.postprocessing import calibration_file, class_calibration
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, csv_output, filesystem, output_lock, temporary_files

_LOG = logging.getLogger(__name__)


def predict(
    run: str | os.PathLike[str], source: str | os.PathLike[str], config: PredictConfig | None = None
) -> pd.DataFrame:
    """Predicts images with the trained folds of a run, and returns the mean probabilities of the folds.

    Args:
        run: Path of a run directory, or an `isic_tf.Run`.
        source: Glob pattern of TFRecord shards, or the directories, zip archives and HDF5 files of images.
        config: How to predict; None for the defaults.

    Returns:
        DataFrame of one row per image, in the order of the records or of the file names: `image_name` (text),
        `prediction` (float64, probability of being malignant, from 0 to 1); of a run with several classes also
        `probability_<class>` for each (float64), and the prediction is that of its positive classes; with `context`
        also `stage_one` (float64, the probability before it is corrected by the patient's other images); where folds
        have detectors `unlike` (float64, above 1 for images unlike the training images, NaN where unknown); with
        `out_of_fold` also `fold` and `target` (Int64, missing where unknown), each only where at least one image has a
        value.

    Raises:
        ConfigError: The source does not exist, or options contradict each other.
        CorruptRecordError: A shard is damaged.
        IsicError: The run has no trained fold, no shard matches, a test record is labeled, an image file cannot be
            decoded, or metadata that the networks use are missing.

    Examples:
        >>> from isic_tf import PredictConfig, predict
        >>> table = predict("runs/b0", "records/384/test*.tfrec", PredictConfig(tta=8))  # doctest: +SKIP
        >>> table.head(2)  # doctest: +SKIP
             image_name  prediction
        0  ISIC_0052060    0.003114
        1  ISIC_0052349    0.001972
    """
    records, images = prediction_inputs.split_source(source)
    config = config or PredictConfig()
    options = {field.name: getattr(config, field.name) for field in dataclasses.fields(PredictConfig)}
    with temporary_files.temporary_directory("predictions", _choose_temporary_parent(os.fspath(run))) as directory:
        output = os.path.join(directory, "predictions.csv")
        job = _prepare(
            PredictFilesConfig(**options, workdir=os.fspath(run), records=records, images=images, output=output)
        )
        _log_job(job)
        return _predict_images(job, f"{output}.parts")


def predict_files(config: PredictFilesConfig) -> pd.DataFrame:
    """Predicts images with the trained folds of a run, and writes a prediction file or a submission.

    The parts that are complete are kept beside the output until it is written, so that the same call after an
    interruption predicts only what is left.

    Args:
        config: What to predict, how, and the files to write.

    Returns:
        The table that was written: see `predict`; with `sample_submission` a submission: `image_name` and `target`
        (float64, the probability), in the order of the sample.

    Raises:
        ConfigError: Options contradict each other, or another process writes the same output.
        CorruptRecordError: A shard is damaged.
        IsicError: See `predict`; or the names are not those of the sample submission.

    Examples:
        >>> config = PredictFilesConfig(workdir="runs/b0", images="dicom", output="scores.csv")
        >>> predict_files(config)["prediction"].mean()  # doctest: +SKIP
        0.0213
    """
    job = _prepare(config)
    order = None
    if config.sample_submission:
        names = job.rows["image_name"].tolist()
        order = submission_format.match_sample(names, config.sample_submission, flags="--records or --images")
    _log_job(job)
    directory = _choose_parts_directory(config.output, job.strategy)
    embeddings = config.embeddings if workers.is_chief(job.strategy) else None
    with output_lock.locked(directory.removesuffix(".parts"), embeddings):
        return _predict_to_files(job, directory, order)


def _predict_to_files(job: PredictionJob, directory: str, order: Sequence[str] | None) -> pd.DataFrame:
    """Predicts and writes to locked files; see `predict_files`."""
    config = job.config
    table = _predict_images(job, directory)
    skipped = prediction_shards.read_skipped(directory, job.parts)
    if order:
        table = _convert_to_submission(table, order)
    if workers.is_chief(job.strategy):
        prediction_files.write_predictions(
            config.output,
            table,
            patient_context=job.has_context_head or bool(job.context_model and job.context_model.patient_context),
            made_by="isic_tf.predict",
            folds=len(job.paths),
            tta=config.tta,
            calibrated=config.calibrated,
            **({} if config.fold == "all" else {"fold": config.fold}),
            **({} if order else job.classes.facts(job.run.get("target", ""))),
        )
        _write_skipped(f"{config.output}.skipped.csv", skipped)
    filesystem.rmtree(directory)
    return table


def _write_skipped(path: str, skipped: pd.DataFrame) -> None:
    """Lists the images that were skipped in a file beside the output; removes that of an earlier prediction."""
    if len(skipped):
        atomic_write.write_text(path, csv_output.format_table(skipped))
        _LOG.info(f"wrote the {len(skipped)} images that were skipped to {path}")
    else:
        filesystem.remove(path, missing_ok=True)


def _choose_temporary_parent(run: str) -> str | None:
    """Returns where names and scores of images may lie for a while: in the run, unless it is read-only."""
    return run if os.path.isdir(run) and os.access(run, os.W_OK) else None


def _prepare(config: PredictFilesConfig) -> PredictionJob:
    """Checks all that can fail before the work begins, and lists the images and the folds that predict each."""
    run = run_directory.read_network(config.workdir)
    paths = run_directory.trained_folds(config.workdir, config.fold)
    _refuse_directories_as_outputs(config)
    classes = read_model_config(config.workdir, run).class_set
    fitted_calibration = class_calibration.read_calibration(config.workdir, classes) if config.calibrated else None
    context_model = context_stage.read_stage(config.context) if config.context else None
    view = _make_view(config, run)
    strategy = strategies.choose_strategy(
        config.strategy, config.tpu, {"records": config.records}, {"images": config.images}
    )
    context_columns = tuple(context_model.numbers) if context_model else ()
    rows = prediction_inputs.list_rows(config, run, bool(context_model), context_columns)
    if config.out_of_fold and run.get("target", "binary").startswith("column"):
        # The index does not know the classes of the user's table, but the run knows those of held-out images.
        rows = rows.assign(known_target=fold_selection.find_targets(rows["image_name"], config.workdir))
    rows = rows.assign(networks=fold_selection.choose_networks(paths, rows, config.out_of_fold, config.patients_are))
    # Images of one unit that are predicted by the same networks are completed together.
    rows = rows.assign(part=pd.factorize(rows["networks"] + " " + rows["unit"].astype(str))[0])
    # A detector knows images as they are, and not the samples of a policy.
    detectors = [detector_file.load_detector(path) for path in paths] if config.tta_policy == "dihedral" else []
    return PredictionJob(
        config, run, paths, rows, strategy, view, context_model, fitted_calibration, classes, detectors
    )


def _refuse_directories_as_outputs(config: PredictFilesConfig) -> None:
    for path in (config.output, config.embeddings):
        if path and filesystem.isdir(path):
            raise errors.ConfigError(f"expected file names as --output and --embeddings, got the directory {path}")


def _make_view(config: PredictFilesConfig, run: Mapping[str, Any]) -> Callable[..., tf.Tensor] | None:
    view = test_time_augmentation.make_views(config.tta, config.tta_policy, run, config.seed)
    # One symmetry of a square is the image as it is.
    return view if config.tta > 1 or config.tta_policy == "training" else None


def _log_job(job: PredictionJob) -> None:
    devices = strategies.describe_strategy(job.strategy)
    _LOG.info(f"{len(job.rows)} images, {len(job.paths)} fold(s), {job.config.tta} version(s), {devices}")
    if job.calibration:
        _note_calibration(job.calibration, job.rows, job.config.tta)
    if job.has_context_head or job.context_model:
        _LOG.info(patient_bag_predictor.describe_patients(job.rows))


def _note_calibration(fitted: Mapping[str, Any], rows: pd.DataFrame, tta: int) -> None:
    """Logs where calibrated predictions are optimistic, or the calibration was fitted to other scores."""
    held_out = rows["networks"].str.contains("0").sum()
    if held_out:
        _LOG.warning(
            f"note: calibrations are fitted to out-of-fold predictions, such as those of {held_out} of these images, "
            "which therefore look better calibrated than they are; isic_tf.calibrate prints the metrics on other "
            "patients"
        )
    problem = calibration_file.describe_versions(fitted, tta)
    if problem:
        _LOG.warning(f"note: {problem}")


def _choose_parts_directory(output: str, strategy: tf.distribute.Strategy) -> str:
    """Returns the directory of this process's parts; logs where other workers predict the same images."""
    if workers.is_single_worker(strategy):
        return f"{output}.parts"
    _LOG.info(f"note: each of {workers.count_workers()} workers predicts all images; only the first writes the output")
    if workers.is_chief(strategy):
        return f"{output}.parts"
    return f"{output}.parts-of-worker-{strategy.cluster_resolver.task_id}"


def _predict_images(job: PredictionJob, directory: str) -> pd.DataFrame:
    """Returns the predictions of all images in the order of the rows; writes the embeddings that are asked for."""
    done = prediction_shards.open_parts(directory, job.compute_digest())
    networks = resumable_prediction.predict_missing_parts(job, directory, done)
    table = prediction_shards.read_parts(directory, job.parts)
    uncorrected = table
    job = _without_skipped(job, prediction_shards.read_skipped(directory, job.parts))
    if job.has_context_head and networks:
        table = patient_bag_predictor.correct_parts(directory, table, job.rows, networks)
    if job.context_model:
        table = _apply_context_model(job, job.context_model, table, directory)
    if job.config.embeddings and workers.is_chief(job.strategy):
        folds = [os.path.basename(os.path.dirname(path)) for path in job.paths]
        names = table["image_name"].tolist()
        prediction_shards.join_embeddings(
            directory, job.parts, names, folds, job.config.embeddings, job.embedding_width
        )
    if job.config.out_of_fold:
        table = fold_selection.add_folds(table, job.rows, job.paths)
    table = class_correction.rescale_classes(table, uncorrected["prediction"], job.classes)
    if job.calibration:
        table = class_calibration.calibrate_table(job.calibration, table, job.classes, job.config.prevalence)
    if job.finds_unlike:
        _note_unlike(table)
    return table.set_index("image_name").loc[job.rows["image_name"]].reset_index()


def _note_unlike(table: pd.DataFrame) -> None:
    """Logs the images that are unlike the training images."""
    found = table.sort_values(prediction_files.UNLIKE, ascending=False)
    found = found[found[prediction_files.UNLIKE] > 1]
    if len(found):
        _LOG.warning(
            f"note: {len(found)} of {len(table)} images are unlike the training images (column "
            f"{prediction_files.UNLIKE} above 1, as {detector.FALSE_ALARM_RATE:.0%} of images like those; most: "
            f"{found['image_name'].iloc[0]}), so their predictions may not hold"
        )


def _without_skipped(job: PredictionJob, skipped: pd.DataFrame) -> PredictionJob:
    """Returns the job without the images that were skipped, which are counted in the log."""
    if skipped.empty:
        return job
    first = f"{skipped['image_name'].iloc[0]}: {skipped['problem'].iloc[0]}"
    if len(skipped) == len(job.rows):
        raise errors.IsicError(f"none of the {len(skipped)} images can be decoded (first: {first}); check --images")
    _LOG.warning(f"note: {len(skipped)} of {len(job.rows)} images cannot be decoded and are skipped (first: {first})")
    is_kept = ~job.rows["image_name"].isin(skipped["image_name"])
    return dataclasses.replace(job, rows=job.rows[is_kept].reset_index(drop=True))


def _apply_context_model(
    job: PredictionJob, context_model: second_stage.Stage, table: pd.DataFrame, directory: str
) -> pd.DataFrame:
    """Replaces predictions by those of a patient-context model; keeps the image-level ones as `stage_one`."""
    rows = job.rows.set_index("image_name").loc[table["image_name"]].reset_index()
    embeddings = None
    if context_model.uses_embeddings:
        embeddings = prediction_shards.read_part_embeddings(directory, job.parts)[..., : job.embedding_width]
    corrected = context_stage.apply_stage(context_model, rows, table["prediction"].to_numpy(), embeddings)
    return table.assign(stage_one=table["prediction"], prediction=corrected)


def _convert_to_submission(table: pd.DataFrame, order: Sequence[str]) -> pd.DataFrame:
    table = table.set_index("image_name").loc[order].reset_index()
    return table[["image_name", "prediction"]].rename(columns={"prediction": "target"})
