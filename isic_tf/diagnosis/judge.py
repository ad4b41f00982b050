"""A run that is loaded once and judges photographs any number of times."""

import dataclasses
import functools
import math
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf import image_quality
from isic_tf.artifacts import run_directory
from isic_tf.data import clinical_metadata, photographs
from isic_tf.diagnosis import graph_cache, kept_networks, network_results, standing
from isic_tf.diagnosis.config import JudgeConfig
from isic_tf.inference import context_stage, fold_networks
from isic_tf.models.config import read_model_config
from isic_tf.models.pretrained import weights_files
from isic_tf.novelty import detector, detector_file
from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.diagnosis.neighbors import Neighbor


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What a run says of one image.

    Attributes:
        image: Name of the image.
        score: Mean score of the folds, 0 to 1.
        probability: Calibrated probability; None where the run has no calibration.
        interval: Both ends of its 95 % interval over folds and patients of the calibration; None likewise.
        context_probability: Probability by the patient-context model; None without.
        other_images: Images of the same patient that it was judged beside by that model.
        above_benign: Share of the run's benign out-of-fold images with a lower score, 0 to 1; None without these.
        above_malignant: Share of the malignant ones with a lower score.
        is_called_malignant: Whether the score reaches the operating point; None without out-of-fold predictions.
        unlike: How unlike the training images it is, above 1 for 5 % of images like those; None where unknown.
        warnings: What speaks against trusting the score, one line each.
        classes: Probability of each class, of a run with several; else empty.
        neighbors: The most similar training images, where they are asked for; else empty.

    Examples:
        >>> Diagnosis("photo", 0.4, probability=0.031, interval=(0.012, 0.07)).interval
        (0.012, 0.07)
    """

    image: str
    score: float
    probability: float | None = None
    interval: tuple[float, float] | None = None
    context_probability: float | None = None
    other_images: int = 0
    above_benign: float | None = None
    above_malignant: float | None = None
    is_called_malignant: bool | None = None
    unlike: float | None = None
    warnings: tuple[str, ...] = ()
    classes: dict[str, float] = dataclasses.field(default_factory=dict)
    neighbors: "tuple[Neighbor, ...]" = ()


class Judge:
    """A run that judges photographs.

    Its small files are read at once, its networks when they are first used. `prepare` and `compute` are for one thread
    at a time, all else for any.

    Attributes:
        run: Options of the run, see `run_directory.read_network`.
        paths: Weights files of the folds.
        stage: The patient-context model, see `context_stage.read_stage`; None without.
        fitted: The calibration, see `calibration_file.read_calibration`; None where the run has none.
        reference: See `standing.make_reference`; None where the run has no out-of-fold predictions.

    Examples:
        >>> judge = Judge(JudgeConfig(workdir="runs/lite0"))  # doctest: +SKIP
        >>> reader = judge.make_reader()  # doctest: +SKIP
        >>> photograph = reader.read_file("photo.jpg")  # doctest: +SKIP
        >>> results = judge.compute(photograph.square[None], None, [""])  # doctest: +SKIP
    """

    def __init__(self, config: JudgeConfig, embed: bool = False) -> None:
        """Reads the run.

        Args:
            config: The run, and how it judges.
            embed: Whether the results of `compute` hold embeddings also where no context model needs them.

        Raises:
            ConfigError: Options contradict each other, or the run.
            CorruptRecordError: A file of the run is damaged.
            IsicError: There is no trained fold.
        """
        self.run: dict[str, Any] = run_directory.read_network(config.workdir)
        self.paths = run_directory.trained_folds(config.workdir)
        self.stage = context_stage.read_stage(config.context) if config.context else None
        self.fitted = standing.read_calibration(config.workdir, config.prevalence)
        self.reference = standing.read_reference(config.workdir, *config.operating_point)
        self._model = read_model_config(config.workdir, self.run)
        self._classes = self._model.class_set
        self._config = config
        self._embed = embed or bool(self.stage and self.stage.uses_embeddings)

    @property
    def has_patient_context(self) -> bool:
        """Whether the images of a patient are judged together."""
        return bool(self.stage) or self.run.get("context") == "set"

    @property
    def metadata(self) -> str:
        """What the networks use beside the image, see `clinical_metadata.parse`; "" for nothing."""
        return str(self.run.get("metadata", ""))

    def list_numeric(self) -> list[str]:
        """Lists the numeric columns that the networks and the patient-context model use."""
        numbers = self.stage.numbers if self.stage else ()
        return list(dict.fromkeys((*clinical_metadata.parse_numeric(self.metadata), *numbers)))

    def make_reader(self) -> photographs.PhotographReader:
        """Makes the reader of photographs, as the records of the run were made."""
        return photographs.PhotographReader(self.run["image_size"], self.run, self._config)

    @functools.cached_property
    def networks(self) -> fold_networks.FoldNetworks:
        """The networks of the folds."""
        return fold_networks.FoldNetworks(self.paths, self.run, tf.distribute.get_strategy())

    @functools.cached_property
    def _runner(self) -> network_results.NetworkRunner:
        options = (self._detectors, self._classes, self._config.tta, self._embed)
        first = weights_files.read_kept(self.paths[0]) if graph_cache.is_kept(self._model) else None
        if first is None:
            return network_results.NetworkRunner(self.networks, *options)
        place = graph_cache.find_path(self._model, self._embed, first)
        content = graph_cache.read(place)
        kept = content and kept_networks.read_networks(content, first, self.paths[1:])
        if kept:
            return network_results.NetworkRunner(kept, *options)
        runner = network_results.NetworkRunner(self.networks, *options)
        content = runner.copy_graph(first)
        if content:
            graph_cache.write(place, content)
        return runner

    def prepare(self) -> None:
        """Runs the networks on an empty image, so that the first one waits for nothing; else `compute` does it."""
        size = self.run["image_size"]
        known = np.zeros([1, clinical_metadata.width(self.metadata)], np.float32) if self.metadata else None
        self._runner.prepare(np.zeros([1, size, size, 3], np.uint8), known)

    @functools.cached_property
    def _detectors(self) -> list[detector.Detector | None]:
        return [detector_file.load_detector(path) for path in self.paths]

    @property
    def finds_unlike(self) -> bool:
        """Whether a fold has a detector of images that are unlike the training images."""
        return any(self._detectors)

    def compute(
        self, images: np.ndarray, known: np.ndarray | None, patients: Sequence[str]
    ) -> network_results.NetworkResults:
        """Runs the networks; see `network_results.NetworkRunner.run`."""
        return self._runner.run(images, known, patients)

    def conclude(
        self,
        rows: pd.DataFrame,
        results: network_results.NetworkResults,
        warnings: Sequence[Sequence[str]],
        prevalence: float | None = None,
    ) -> list[Diagnosis]:
        """Puts together what the run says of images.

        Args:
            rows: DataFrame of the images, `[n]`: `image_name`, and see `context_stage.apply_stage`.
            results: Of these images, see `compute`.
            warnings: What is wrong with each photograph, see `list_warnings`.
            prevalence: Prevalence of malignant lesions where the images come from; None for that of the options.

        Returns:
            A diagnosis for each image.
        """
        together, others = None, np.zeros(len(rows))
        single = results.scores[:, 0]
        if self.stage:
            embeddings = results.embeddings if self.stage.uses_embeddings else None
            together = context_stage.apply_stage(self.stage, rows, single, embeddings)
            if self.stage.patient_context:
                patients = rows["patient_id"]
                others = (patients.map(patients.value_counts()) - 1).where(patients != "", 0).to_numpy()
        calibrated = self.calibrate(results.fold_scores, prevalence) if self.fitted else None
        found = []
        for place, name in enumerate(rows["image_name"]):
            unlike = float(results.unlike[place])
            values: dict[str, Any] = {"unlike": unlike if math.isfinite(unlike) else None}
            texts = [] if values["unlike"] is None or unlike <= 1 else [_describe_unlike(unlike)]
            if calibrated is not None:
                values["probability"], low, high = calibrated[place].tolist()
                values["interval"] = (low, high)
            if together is not None:
                values["context_probability"] = float(together[place])
                values["other_images"] = int(others[place])
            values["warnings"] = (*texts, *warnings[place])
            values["classes"] = dict(zip(self._classes.names or (), results.scores[place, 1:].tolist(), strict=True))
            found.append(Diagnosis(name, float(single[place]), **values, **self._compare(single[place : place + 1])))
        return found

    def calibrate(self, fold_scores: np.ndarray, prevalence: float | None = None) -> np.ndarray:
        """Calibrates the scores of the folds.

        Args:
            fold_scores: float64 `[n, folds]`, 0 to 1.
            prevalence: See `conclude`.

        Returns:
            float64 `[n, 3]`: the probability, and both ends of its interval.

        Raises:
            ConfigError: The run has no calibration.
        """
        if not self.fitted:
            raise errors.ConfigError(
                "expected a run with a calibration, got one without; fit one with isic_tf.calibrate"
            )
        prevalence = self._config.prevalence if prevalence is None else prevalence
        return standing.calibrate_with_interval(self.fitted, fold_scores, prevalence)

    def _compare(self, own: np.ndarray) -> dict[str, Any]:
        """Compares a score with those of the out-of-fold images."""
        reference = self.reference
        if not reference:
            return {}
        return {
            "above_benign": float(standing.rank(own, reference.benign)[0]),
            "above_malignant": float(standing.rank(own, reference.malignant)[0]),
            "is_called_malignant": reference.threshold is not None and bool(own[0] >= reference.threshold),
        }

    def collect_facts(self) -> dict[str, Any]:
        """Collects what pages and files state of the run, as numbers and text; no directory of this machine."""
        config, reference = self._config, self.reference
        facts: dict[str, Any] = {
            "name": os.path.basename(os.path.normpath(config.workdir)),
            "folds": len(self.paths),
            "versions": config.tta,
            "prevalence": config.prevalence,
            "operate_at": config.operate_at,
            "false_alarm_rate": detector.FALSE_ALARM_RATE if self.finds_unlike else None,
            "threshold": None,
        }
        if config.prevalence is None and self.fitted:
            facts["prevalence"] = self.fitted.get("used_at") or self.fitted["prevalence"]
        if reference:
            facts.update(
                threshold=reference.threshold,
                sensitivity=reference.sensitivity,
                specificity=reference.specificity,
                benign=len(reference.benign),
                malignant=len(reference.malignant),
            )
        return facts


def list_warnings(photograph: photographs.Photograph) -> list[str]:
    """Lists what is wrong with a photograph, one line each; see `image_quality.check_image`.

    Args:
        photograph: As the reader of `Judge.make_reader` returns it.

    Returns:
        Lines of text.
    """
    found = [f"{finding.name}: {finding.text}" for finding in image_quality.check_image(photograph.whole)]
    if photograph.is_color_guessed:
        found.append("colors: The header leaves open whether the image is RGB or YCbCr, so its pixels decided.")
    return found


def _describe_unlike(unlike: float) -> str:
    return (
        f"unlike the training images: {unlike:.2f} times the limit that {detector.FALSE_ALARM_RATE:.0%} of images like "
        "those exceed"
    )
