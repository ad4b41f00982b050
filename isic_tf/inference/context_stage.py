"""A patient-context model of one run: read, and applied to what the run's networks predict."""

import os

import numpy as np
import pandas as pd

from isic_tf.data import clinical_metadata
from isic_tf.metrics import logit
from isic_tf.patient_context import lesion_features, second_stage
from tfrecord_tools import errors


def read_stage(directory: str | os.PathLike[str]) -> second_stage.Stage:
    """Reads a patient-context model that was fitted on one run.

    Args:
        directory: See `second_stage.save_stage`.

    Returns:
        `second_stage.Stage`.

    Raises:
        ConfigError: It was fitted on several runs.
        IsicError: See `second_stage.load_stage`.
    """
    stage = second_stage.load_stage(directory)
    if stage.num_files != 1:
        raise errors.ConfigError(
            f"expected a patient-context model fitted on one run, but {directory} was fitted on {stage.num_files}; "
            "predict with each run, then give the files to isic_tf.context --predictions"
        )
    return stage


def apply_stage(
    stage: second_stage.Stage, rows: pd.DataFrame, scores: np.ndarray, embeddings: np.ndarray | None
) -> np.ndarray:
    """Corrects the scores of images by the other images of their patients.

    Args:
        stage: See `read_stage`.
        rows: DataFrame of the images, `[n]`, with `patient_id` ("" where unknown), the columns of
            `lesion_features.COLUMNS` where they are known, and the numeric columns that the stage uses, see
            `clinical_metadata.add_values`.
        scores: Float `[n]`, 0 to 1.
        embeddings: float32 `[n, networks, f]`; None where the stage uses none.

    Returns:
        float64 `[n]`, see `second_stage.apply_stage`.

    Examples:
        >>> stage = second_stage.Stage("rank", 1, False, True, columns=[], lone_calibration=None, model=None)
        >>> apply_stage(stage, pd.DataFrame({"patient_id": ["p", "p"]}), np.array([0.1, 0.4]), None).tolist()
        [0.25, 0.75]
    """
    columns = list(stage.numbers)
    numbers = pd.DataFrame(clinical_metadata.select_values(rows, columns), columns=columns)
    logits = logit.logits(np.asarray(scores, np.float64)[:, None])
    lesions = lesion_features.gather(logits, rows["patient_id"].tolist(), rows, embeddings, numbers)
    return second_stage.apply_stage(stage, lesions)
