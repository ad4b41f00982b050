"""Judges photographs by the trained folds of a run, one by one or those of a patient together."""

import concurrent.futures
import dataclasses
import json
import logging

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata, image_files
from isic_tf.diagnosis import standing
from isic_tf.diagnosis.config import NOTICE, DiagnoseConfig
from isic_tf.diagnosis.judge import Diagnosis, Judge, list_warnings
from isic_tf.distribution import cpu
from isic_tf.inference import fold_selection
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write

_LOG = logging.getLogger(__name__)
_PATIENT = "patient"
# All images are in memory; for more of them `predict` is made.
_MOST_IMAGES = 200


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
    judge = Judge(config, embed=config.show_neighbors)
    _log_what_is_missing(judge)
    rows = _list_images(config, judge)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        read = pool.submit(_read_images, judge, rows)
        # In this thread, whose device and strategy the networks take.
        judge.prepare()
        images, warnings = read.result()
    known = clinical_metadata.encode(rows, judge.metadata) if judge.metadata else None
    results = judge.compute(images, known, rows["patient_id"].tolist())
    found = judge.conclude(rows, results, warnings)
    if config.records:
        found = _add_neighbors(found, judge, config, results.embeddings)
    for one in found:
        _LOG.info(describe(one, judge.reference))
    _LOG.info(NOTICE)
    facts = judge.collect_facts()
    if config.json:
        content = {"version": 1, "notice": NOTICE, "run": facts, "images": [dataclasses.asdict(one) for one in found]}
        atomic_write.write_text(config.json, json.dumps(content, indent=1, allow_nan=False) + "\n")
        _LOG.info(f"wrote {config.json}")
    if config.report:
        # Figures of reports take a second to import.
        from isic_tf.diagnosis import diagnosis_page

        diagnosis_page.write(config.report, found, images, results.maps, facts, NOTICE)
        _LOG.info(f"wrote {config.report}")
    return found


def _log_what_is_missing(judge: Judge) -> None:
    if not judge.fitted:
        _LOG.warning("note: the run has no calibration, so scores are no probabilities; fit one with isic_tf.calibrate")
    if not judge.reference:
        _LOG.warning("note: the run has no out-of-fold predictions, so there are no percentiles and no operating point")
    if not judge.finds_unlike:
        _LOG.warning("note: this run has no detector of unlike images, so that was not checked")


def _list_images(config: DiagnoseConfig, judge: Judge) -> pd.DataFrame:
    """Lists the images with their metadata and patients."""
    further = tuple(clinical_metadata.FIELDS.values()) if judge.stage else ()
    rows = image_files.list_files(",".join(config.images), config.csv, judge.metadata, further)
    if len(rows) > _MOST_IMAGES:
        raise errors.ConfigError(
            f"expected at most {_MOST_IMAGES} images, got {len(rows)}; use isic_tf.predict --images for more"
        )
    if config.patient:
        if not judge.has_patient_context:
            raise errors.ConfigError(
                "--patient needs --context, or a run that was trained with --context=set: other runs judge each image "
                "by itself"
            )
        rows = rows.assign(patient_id=_PATIENT)
    numeric = judge.list_numeric()
    clinical_metadata.check_table(config.table, numeric)
    rows = clinical_metadata.add_values(rows, config.table, numeric)
    clinical_metadata.log_unknown(rows, judge.metadata)
    return rows


def _read_images(judge: Judge, rows: pd.DataFrame) -> tuple[np.ndarray, list[list[str]]]:
    """Returns the images as the networks see them, uint8 `[n, S, S, 3]`, and the warnings of each."""
    reader = judge.make_reader()

    def read(path: str) -> tuple[np.ndarray, list[str]]:
        photograph = reader.read_file(path)
        return photograph.square, list_warnings(photograph)

    with concurrent.futures.ThreadPoolExecutor(cpu.count_cores()) as pool:
        squares, warnings = zip(*pool.map(read, rows["path"]), strict=True)
    unseen = np.any([fold_selection.find_unseen(path, rows, otherwise=True) for path in judge.paths], axis=0)
    for own, is_unseen in zip(warnings, unseen, strict=True):
        if not is_unseen:
            own.append("all networks were trained on this image or its patient, so the score is optimistic")
    return np.stack(squares), list(warnings)


def _add_neighbors(
    found: list[Diagnosis], judge: Judge, config: DiagnoseConfig, embeddings: np.ndarray
) -> list[Diagnosis]:
    # Most calls need none of it.
    from isic_tf.diagnosis import neighbors

    similar = neighbors.find_neighbors(
        config.workdir, judge.paths, judge.run, lambda: judge.networks, str(config.records), embeddings
    )
    return [dataclasses.replace(one, neighbors=own) for one, own in zip(found, similar, strict=True)]


def describe(found: Diagnosis, reference: standing.Reference | None) -> str:
    """Formats a diagnosis for the terminal.

    Args:
        found: `Diagnosis`.
        reference: See `standing.make_reference`; None without out-of-fold predictions.

    Returns:
        One line, one more for each warning, and one for the most similar training images.

    Examples:
        >>> print(describe(Diagnosis("mole", 0.4, probability=0.031, interval=(0.012, 0.07), warnings=("dark",)), None))
        mole: probability 0.031 [0.012, 0.070], score 0.4000
          warning: dark
    """
    parts = []
    if found.context_probability is not None:
        by = "beside the patient's other images" if found.other_images else "by the patient-context model"
        parts.append(f"{by} {found.context_probability:.3f}")
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
    lines = [f"{found.image}: {', '.join(parts)}", *(f"  warning: {text}" for text in found.warnings)]
    if found.neighbors:
        similar = (f"{one.image} {one.label} {one.similarity:.3f}" for one in found.neighbors)
        lines.append(f"  similar training images: {', '.join(similar)}")
    return "\n".join(lines)
