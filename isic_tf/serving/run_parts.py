"""What a run has besides its networks, and a SavedModel carries too."""

import typing
from collections.abc import Mapping, Sequence
from typing import Any

from isic_tf.data import photographs, targets
from isic_tf.novelty import detector, detector_file
from isic_tf.patient_context.second_stage import Stage
from isic_tf.postprocessing import calibration_file
from tfrecord_tools.io import filesystem


class RunParts(typing.NamedTuple):
    """What a run has besides its networks.

    Attributes:
        preprocessing: How the images of its records were prepared, see `graph_images.decode`.
        versions: Symmetries of a square whose probabilities are averaged, 1 to 8.
        calibration: See `calibration_file.read_calibration`; None for none.
        detectors: Detectors of unlike images of the networks, or None, `[networks]`; empty for none.
        stage: The patient-context model, see `context_stage.read_stage`; None for none.
    """

    preprocessing: Mapping[str, Any] = {}
    versions: int = 1
    calibration: Mapping[str, Any] | None = None
    detectors: Sequence[detector.Detector | None] = ()
    stage: Stage | None = None


NOTHING = RunParts()


def read_parts(
    workdir: str,
    paths: Sequence[str],
    run: Mapping[str, Any],
    classes: targets.ClassSet,
    versions: int,
    stage: Stage | None = None,
) -> RunParts:
    """Reads what a run has besides its networks.

    Args:
        workdir: Run directory.
        paths: Weights of the folds.
        run: See `run_directory.read_network`.
        classes: The classes that the run predicts; of several, no calibration is read.
        versions: See `RunParts`.
        stage: See `RunParts`.

    Returns:
        `RunParts`.

    Raises:
        CorruptRecordError: The calibration or a detector is damaged.
    """
    is_calibrated = not classes.names and filesystem.exists(calibration_file.locate_calibration(workdir))
    calibration = calibration_file.read_calibration(workdir) if is_calibrated else None
    detectors = [detector_file.load_detector(path) for path in paths]
    return RunParts(photographs.choose_preprocessing(run), versions, calibration, detectors, stage)
