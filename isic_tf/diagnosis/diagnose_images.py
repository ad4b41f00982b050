"""Judges photographs by the trained folds of a run, one by one or those of a patient together."""

import dataclasses
import json
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf import image_quality
from isic_tf.artifacts import run_directory
from isic_tf.artifacts.run import Run
from isic_tf.data import clinical_metadata, image_files
from isic_tf.diagnosis import diagnosis_page, network_results, standing
from isic_tf.diagnosis.config import DiagnoseConfig
from isic_tf.distribution import cpu
from isic_tf.inference import fold_networks, fold_selection
from isic_tf.metrics import logit
from isic_tf.models.config import read_model_config
from isic_tf.novelty import detector, detector_file
from isic_tf.patient_context import lesion_features, second_stage
from isic_tf.postprocessing import calibration_file
from tfrecord_tools import errors
from tfrecord_tools.imaging import limits as image_limits
from tfrecord_tools.io import atomic_write, filesystem

_LOG = logging.getLogger(__name__)
_PATIENT = "patient"
# All images are in memory; for more of them `predict` is made.
_MOST_IMAGES = 200
NOTICE = "Not a medical device: for research only, not for diagnosis or treatment."


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """What a run says of one image.

    Attributes:
        image: Name of the image.
        score: Mean score of the folds, 0 to 1.
        probability: Calibrated probability; None where the run has no calibration.
        interval: Both ends of its 95 % interval over folds and patients of the calibration; None likewise.
        context_probability: Probability by the patient-context model, beside the patient's other images; None without.
        above_benign: Share of the run's benign out-of-fold images with a lower score, 0 to 1; None without these.
        above_malignant: Share of the malignant ones with a lower score.
        is_called_malignant: Whether the score reaches the operating point; None without out-of-fold predictions.
        unlike: How unlike the training images it is, above 1 for 5 % of images like those; None where unknown.
        warnings: What speaks against trusting the score, one line each.
        classes: Probability of each class, of a run with several; else empty.

    Examples:
        >>> Diagnosis("photo", 0.4, probability=0.031, interval=(0.012, 0.07)).interval
        (0.012, 0.07)
    """

    image: str
    score: float
    probability: float | None = None
    interval: tuple[float, float] | None = None
    context_probability: float | None = None
    above_benign: float | None = None
    above_malignant: float | None = None
    is_called_malignant: bool | None = None
    unlike: float | None = None
    warnings: tuple[str, ...] = ()
    classes: dict[str, float] = dataclasses.field(default_factory=dict)


def diagnose(config: DiagnoseConfig) -> list[Diagnosis]:
    """Judges photographs, logs one line for each, and writes the page and the file that are asked for.

    Args:
        config: The photographs, the run and the files to write.

    Returns:
        A diagnosis for each image, in the order of their names.

    Raises:
        ConfigError: Options contradict each other.
        CorruptRecordError: A file of the run is damaged.
        IsicError: There is no trained fold, or no image, or one cannot be decoded.

    Examples:
        >>> from isic_tf.diagnosis import DiagnoseConfig, diagnose
        >>> found = diagnose(DiagnoseConfig(workdir="runs/lite0", images=("photo.jpg",)))  # doctest: +SKIP
        >>> found[0].probability, found[0].interval  # doctest: +SKIP
        (0.031, (0.012, 0.07))
    """
    run = run_directory.read_network(config.workdir)
    model_config = read_model_config(config.workdir, run)
    stage = _read_stage(config)
    rows = _list_images(config, run, stage)
    paths = run_directory.trained_folds(config.workdir)
    unseen = np.any([fold_selection.find_unseen(path, rows, otherwise=True) for path in paths], axis=0).tolist()
    images, findings = _read_images(config, run, rows)
    fields = run.get("metadata", "")
    results = network_results.run_networks(
        fold_networks.FoldNetworks(paths, run, tf.distribute.get_strategy()),
        [detector_file.load_detector(path) for path in paths],
        images,
        clinical_metadata.encode(rows, fields) if fields else None,
        model_config.class_set,
        rows["patient_id"].tolist(),
        config.tta,
        embed=bool(stage and stage.uses_embeddings),
    )
    fitted = _read_calibration(config)
    reference = _make_reference(config)
    warnings = [
        tuple(_list_warnings(unlike, own, not is_unseen))
        for unlike, own, is_unseen in zip(results.unlike, findings, unseen, strict=True)
    ]
    calibrated = standing.calibrate_with_interval(fitted, results.fold_scores, config.prevalence) if fitted else None
    together = _apply_stage(stage, rows, results) if stage else None
    found = _join(rows, results, reference, calibrated, together, warnings, model_config.class_set.names)
    for one in found:
        _LOG.info(describe(one, reference))
    _LOG.info(NOTICE)
    facts = _collect_facts(config, len(paths), fitted, reference)
    if config.json:
        content = {"version": 1, "notice": NOTICE, "run": facts, "images": [dataclasses.asdict(one) for one in found]}
        atomic_write.write_text(config.json, json.dumps(content, indent=1, allow_nan=False) + "\n")
        _LOG.info(f"wrote {config.json}")
    if config.report:
        diagnosis_page.write(config.report, found, images, results.maps, facts, NOTICE)
        _LOG.info(f"wrote {config.report}")
    return found


def _read_stage(config: DiagnoseConfig) -> second_stage.Stage | None:
    if not config.context:
        return None
    stage = second_stage.load_stage(config.context)
    if stage.num_files != 1:
        raise errors.ConfigError(
            f"expected a patient-context model fitted on one run, but {config.context} was fitted on {stage.num_files}"
        )
    return stage


def _list_images(config: DiagnoseConfig, run: dict[str, Any], stage: second_stage.Stage | None) -> pd.DataFrame:
    """Lists the images with their metadata and patients."""
    fields = run.get("metadata", "")
    further = lesion_features.COLUMNS if stage else ()
    rows = image_files.list_files(",".join(config.images), config.csv, fields, further)
    if len(rows) > _MOST_IMAGES:
        raise errors.ConfigError(
            f"expected at most {_MOST_IMAGES} images, got {len(rows)}; use isic_tf.predict --images for more"
        )
    if config.patient:
        if not stage and run.get("context") != "set":
            raise errors.ConfigError(
                "--patient needs --context, or a run that was trained with --context=set: other runs judge each image "
                "by itself"
            )
        rows = rows.assign(patient_id=_PATIENT)
    numeric = list(dict.fromkeys((*clinical_metadata.parse_numeric(fields), *(stage.numbers if stage else ()))))
    clinical_metadata.check_table(config.table, numeric)
    rows = clinical_metadata.add_values(rows, config.table, numeric)
    clinical_metadata.log_unknown(rows, fields)
    return rows


def _read_images(
    config: DiagnoseConfig, run: dict[str, Any], rows: pd.DataFrame
) -> tuple[np.ndarray, list[list[image_quality.Finding]]]:
    """Returns the images as the networks see them, uint8 `[n, S, S, 3]`, and what is wrong with each photograph."""
    with image_files.open_reader(rows, run["image_size"], run, cpu.count_cores(), None, config) as read:
        images = read(rows["number"].to_numpy())
    limits = image_limits.extract(config)
    findings = []
    for path in rows["path"]:
        findings.append(image_quality.check_image(image_files.read_photograph(path, limits)))
    return images, findings


def _make_reference(config: DiagnoseConfig) -> standing.Reference | None:
    """Chooses the operating point on the run's own out-of-fold predictions; None where it has none."""
    if not filesystem.exists(os.path.join(config.workdir, run_directory.OOF_FILE)):
        _LOG.warning("note: the run has no out-of-fold predictions, so there are no percentiles and no operating point")
        return None
    return standing.make_reference(Run(config.workdir).out_of_fold, *config.operating_point)


def _list_warnings(unlike: float, findings: Sequence[image_quality.Finding], is_seen: bool) -> list[str]:
    texts = []
    if unlike > 1:
        texts.append(
            f"unlike the training images: {unlike:.2f} times the limit that {detector.FALSE_ALARM_RATE:.0%} of images "
            "like those exceed"
        )
    texts += [f"{finding.name}: {finding.text}" for finding in findings]
    if is_seen:
        texts.append("all networks were trained on this image or its patient, so the score is optimistic")
    return texts


def _join(
    rows: pd.DataFrame,
    results: network_results.NetworkResults,
    reference: standing.Reference | None,
    calibrated: np.ndarray | None,
    together: np.ndarray | None,
    warnings: Sequence[tuple[str, ...]],
    class_names: Sequence[str],
) -> list[Diagnosis]:
    single = results.scores[:, 0]
    found = []
    for place, name in enumerate(rows["image_name"]):
        unlike = float(results.unlike[place])
        values: dict[str, Any] = {"unlike": unlike if math.isfinite(unlike) else None, "warnings": warnings[place]}
        if calibrated is not None:
            values["probability"], low, high = calibrated[place].tolist()
            values["interval"] = (low, high)
        if reference:
            own = single[place : place + 1]
            values["above_benign"] = float(standing.rank(own, reference.benign)[0])
            values["above_malignant"] = float(standing.rank(own, reference.malignant)[0])
            values["is_called_malignant"] = reference.threshold is not None and bool(own[0] >= reference.threshold)
        if together is not None:
            values["context_probability"] = float(together[place])
        classes = dict(zip(class_names, results.scores[place, 1:].tolist(), strict=True)) if class_names else {}
        found.append(Diagnosis(name, float(single[place]), classes=classes, **values))
    return found


def _read_calibration(config: DiagnoseConfig) -> dict[str, Any] | None:
    """Reads the calibration of the run; None, which is logged, where it has none."""
    if not filesystem.exists(calibration_file.locate_calibration(config.workdir)):
        if config.prevalence is not None:
            raise errors.ConfigError(
                "--prevalence needs a calibration, which the run does not have; fit one with isic_tf.calibrate"
            )
        _LOG.warning("note: the run has no calibration, so scores are no probabilities; fit one with isic_tf.calibrate")
        return None
    return calibration_file.read_calibration(config.workdir)


def _apply_stage(stage: second_stage.Stage, rows: pd.DataFrame, results: network_results.NetworkResults) -> np.ndarray:
    """Returns the probabilities by a patient-context model, float64 `[n]`."""
    columns = list(stage.numbers)
    numbers = pd.DataFrame(clinical_metadata.select_values(rows, columns), columns=columns)
    embeddings = results.embeddings if stage.uses_embeddings else None
    logits = logit.logits(results.scores[:, :1])
    lesions = lesion_features.gather(logits, rows["patient_id"].tolist(), rows, embeddings, numbers)
    return second_stage.apply_stage(stage, lesions)


def _collect_facts(
    config: DiagnoseConfig, num_folds: int, fitted: dict[str, Any] | None, reference: standing.Reference | None
) -> dict[str, Any]:
    """Collects what the page and the file state of the run; no directory of this machine."""
    facts: dict[str, Any] = {
        "name": os.path.basename(os.path.normpath(config.workdir)),
        "folds": num_folds,
        "versions": config.tta,
        "prevalence": config.prevalence,
        "operate_at": config.operate_at,
        "false_alarm_rate": detector.FALSE_ALARM_RATE,
        "threshold": None,
    }
    if config.prevalence is None and fitted:
        facts["prevalence"] = fitted.get("used_at") or fitted["prevalence"]
    if reference:
        facts.update(
            threshold=reference.threshold,
            sensitivity=reference.sensitivity,
            specificity=reference.specificity,
            benign=len(reference.benign),
            malignant=len(reference.malignant),
        )
    return facts


def describe(found: Diagnosis, reference: standing.Reference | None) -> str:
    """Formats a diagnosis for the terminal.

    Args:
        found: `Diagnosis`.
        reference: See `standing.make_reference`; None without out-of-fold predictions.

    Returns:
        One line, and one more for each warning.

    Examples:
        >>> print(describe(Diagnosis("mole", 0.4, probability=0.031, interval=(0.012, 0.07), warnings=("dark",)), None))
        mole: probability 0.031 [0.012, 0.070], score 0.4000
          warning: dark
    """
    parts = []
    if found.context_probability is not None:
        parts.append(f"beside the patient's other images {found.context_probability:.3f}")
    if found.probability is not None and found.interval:
        parts.append(f"probability {found.probability:.3f} [{found.interval[0]:.3f}, {found.interval[1]:.3f}]")
    parts.append(f"score {found.score:.4f}")
    if reference and found.above_benign is not None and found.above_malignant is not None:
        parts.append(
            f"above {found.above_benign:.0%} of benign and {found.above_malignant:.0%} of malignant training images"
        )
        called = "malignant" if found.is_called_malignant else "benign"
        threshold = "no threshold" if reference.threshold is None else f"threshold {reference.threshold:.4f}"
        parts.append(f"called {called} ({threshold})")
    parts += [f"{name} {probability:.3f}" for name, probability in found.classes.items()]
    return "\n".join([f"{found.image}: {', '.join(parts)}", *(f"  warning: {text}" for text in found.warnings)])
