"""Predicts images part by part: a part is complete on disk, or it is predicted again."""

import contextlib
import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from isic_tf.artifacts import class_columns, prediction_files
from isic_tf.data import clinical_metadata, image_files, input_pipeline, photographs, read_errors, targets
from isic_tf.distribution import cpu, workers
from isic_tf.inference import fold_networks, prediction_shards, test_time_augmentation
from isic_tf.inference.config import PredictFilesConfig
from isic_tf.models import patient_context_head
from isic_tf.novelty import detector
from isic_tf.patient_context import second_stage
from tfrecord_tools import errors

ImageReader = Callable[[np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True)
class PredictionJob:
    """The images to predict, the folds that predict them, and how.

    Attributes:
        config: Options of the prediction.
        run: Options of the run, see `run_directory.read_network`.
        paths: Weights of the folds, `[folds]`.
        rows: See `prediction_inputs.list_rows`; with `networks` (see `fold_selection.choose_networks`) and `part`, the
            number of the part that each image belongs to.
        strategy: `tf.distribute.Strategy`.
        view: See `test_time_augmentation.make_views`; None for the images as they are.
        context_model: Patient-context model to apply, or None.
        calibration: See `calibration_file.read_calibration`; None for none.
        classes: The classes that the networks predict.
        detectors: Detector of unlike images of each fold, or None where a fold has none, `[folds]`.
    """

    config: PredictFilesConfig
    run: Mapping[str, Any]
    paths: Sequence[str]
    rows: pd.DataFrame
    strategy: tf.distribute.Strategy
    view: Callable[..., tf.Tensor] | None
    context_model: second_stage.Stage | None
    calibration: Mapping[str, Any] | None
    classes: targets.ClassSet = targets.BINARY
    detectors: Sequence[detector.Detector | None] = ()

    @property
    def finds_unlike(self) -> bool:
        """Whether there is a detector of unlike images."""
        return any(self.detectors)

    @property
    def has_context_head(self) -> bool:
        """Whether the networks themselves use the patient's other lesions."""
        return self.run.get("context") == "set"

    @property
    def embedding_layer(self) -> str:
        """Name of the layer whose output is kept with the predictions; "" for none."""
        if self.has_context_head:
            return patient_context_head.HEAD_INPUT
        needs_embeddings = self.config.embeddings or (self.context_model and self.context_model.uses_embeddings)
        return "pooled" if needs_embeddings else ""

    @property
    def embedding_width(self) -> int | None:
        """End of the slice of the kept output that holds the embedding; None for all of it."""
        # The context head is given the logit as well, as the last number.
        return -1 if self.has_context_head else None

    @property
    def parts(self) -> np.ndarray:
        """Numbers of all parts, int64."""
        return self.rows["part"].unique()

    def compute_digest(self) -> str:
        """Computes the digest of all that the predictions depend on; parts of another digest are not used."""
        config = self.config
        policy = test_time_augmentation.read_tta_policy(self.run) if config.tta_policy == "training" else None
        # The rows hold the metadata. Of the images, which are read later, size and time of change are compared.
        places = self.rows["path"].map(image_files.find_file) if "path" in self.rows else self.rows["shard"]
        stamps = prediction_shards.list_stamps(places.unique())
        versions = (config.tta, config.tta_policy, config.seed, self.embedding_layer, config.on_error)
        # Images that were skipped before may not be now.
        accepted = (config.monochrome,) if config.monochrome == "accept" else ()
        limits = [fitted and fitted.limits.tolist() for fitted in self.detectors]
        return prediction_shards.digest(
            self.paths, *versions, *accepted, limits, self.run, policy, self.rows.to_csv(), stamps
        )


def predict_missing_parts(
    job: PredictionJob, directory: str, done: Collection[int]
) -> fold_networks.FoldNetworks | None:
    """Predicts the parts that are not done, and writes each once all its images are predicted.

    Args:
        job: What to predict.
        directory: Directory of the parts, see `prediction_shards.open_parts`.
        done: Numbers of the parts that are complete.

    Returns:
        The networks of all folds; None where nothing was left to predict and nothing else needs them.

    Raises:
        CorruptRecordError: A shard is corrupt.
        IsicError: An image file cannot be decoded, or the index does not fit its shards.
    """
    missing = job.rows[~job.rows["part"].isin(done)]
    shards = [] if job.config.images else sorted(set(job.rows["shard"]))
    skipped: dict[str, str] = {}
    further = [*class_columns.list_columns(job.classes.names), *[prediction_files.UNLIKE] * job.finds_unlike]
    writer = _PartWriter(missing, directory, skipped, further)
    with read_errors.explained_read_errors(shards), _open_reader(job, skipped) as reader:
        return _predict_rows(job, missing, writer, reader)


def _open_reader(job: PredictionJob, skipped: dict[str, str]) -> contextlib.AbstractContextManager[ImageReader | None]:
    if job.config.images:
        collected = skipped if job.config.on_error == "skip" else None
        return photographs.open_reader(
            job.rows, job.run["image_size"], job.run, _count_threads(job), collected, job.config
        )
    return contextlib.nullcontext()


def _count_threads(job: PredictionJob) -> int:
    return job.config.threads or cpu.count_cores()


def _predict_rows(
    job: PredictionJob, rows: pd.DataFrame, writer: "_PartWriter", reader: ImageReader | None
) -> fold_networks.FoldNetworks | None:
    # Several workers create variables together, whatever each has left. A context head is applied to all parts.
    if rows.empty and workers.is_single_worker(job.strategy) and not job.has_context_head:
        return None
    networks = fold_networks.FoldNetworks(job.paths, job.run, job.strategy)
    predict = networks.make_predictor(job.view, job.config.tta, job.embedding_layer, job.finds_unlike)
    total = len(job.rows)
    with tqdm(total=total, initial=total - len(rows), unit="image", disable=None) as progress:
        for selection, own in rows.groupby("networks", sort=False):
            used = np.array([digit == "1" for digit in selection])
            folds = np.flatnonzero(used).tolist()
            for names, probabilities, *features in predict(_make_dataset(job, own, reader), folds):
                if job.finds_unlike:
                    unlike = _measure(features.pop(), [job.detectors[fold] for fold in folds])
                    probabilities = np.column_stack([probabilities, unlike])
                embeddings = _spread(features[0], used) if features else None
                writer.add(names, probabilities, embeddings)
                progress.update(len(names))
    writer.refuse_incomplete_parts()
    return networks


def _make_dataset(job: PredictionJob, rows: pd.DataFrame, reader: ImageReader | None) -> tf.data.Dataset:
    fields = job.run.get("metadata", "")
    return input_pipeline.make_eval_dataset(
        rows,
        image_size=job.run["image_size"],
        batch_size=job.config.batch_size * workers.count_local_replicas(job.strategy),
        threads=_count_threads(job),
        metadata=clinical_metadata.encode(rows, fields) if fields else None,
        images=reader,
    )


def _measure(stages: np.ndarray, detectors: Sequence[detector.Detector | None]) -> np.ndarray:
    """Returns how unlike the training images of its networks each image is, float64 `[n]`; NaN where nothing tells."""
    values = np.full(stages.shape[:2], np.nan)
    for place, fitted in enumerate(detectors):
        if fitted:
            values[:, place] = detector.measure(fitted, stages[:, place])
    return detector.join(values)


def _spread(embeddings: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Returns the embeddings of some networks as those of all, float32 `[n, networks, f]`, NaN for the others."""
    spread = np.full((len(embeddings), len(used), embeddings.shape[-1]), np.nan, np.float32)
    spread[:, used] = embeddings
    return spread


class _PartWriter:
    """Collects predictions, and writes each part once all its images are predicted, without those that are skipped."""

    def __init__(
        self, rows: pd.DataFrame, directory: str, skipped: Mapping[str, str], further_columns: Sequence[str]
    ) -> None:
        self._columns = ["prediction", *further_columns]
        self._directory = directory
        self._skipped = skipped
        self._names = rows.groupby("part")["image_name"].agg(list)
        self._parts = dict(zip(rows["image_name"], rows["part"], strict=True))
        self._collected: dict[int, dict[str, tuple[np.ndarray, np.ndarray | None]]] = {}

    def add(self, names: Sequence[str], probabilities: np.ndarray, embeddings: np.ndarray | None) -> None:
        for place, name in enumerate(names):
            part = self._parts[name]
            collected = self._collected.setdefault(part, {})
            collected[name] = probabilities[place], None if embeddings is None else embeddings[place]
            if len(collected) == len(self._names[part]):
                self._write(part)

    def _write(self, part: int) -> None:
        names = self._names[part]
        collected = self._collected.pop(part)
        probabilities, embeddings = zip(*(collected[name] for name in names), strict=True)
        scores = np.stack(probabilities).reshape(len(names), -1)
        table = pd.DataFrame(scores, columns=self._columns)
        table.insert(0, "image_name", names)
        is_kept = np.array([name not in self._skipped for name in names])
        stacked = None if embeddings[0] is None else np.stack(embeddings)[is_kept]
        problems = [(name, self._skipped[name]) for name in names if name in self._skipped]
        skipped = pd.DataFrame(problems, columns=["image_name", "problem"]) if problems else None
        prediction_shards.write_part(self._directory, part, table[is_kept], stacked, skipped)

    def refuse_incomplete_parts(self) -> None:
        if self._collected:
            count = sum(len(collected) for collected in self._collected.values())
            raise errors.IsicError(
                f"{count} images were predicted, but other images that the index lists in their shards were not found; "
                "index the shards again with tfrecord_tools.index"
            )
