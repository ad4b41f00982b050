"""Holds what a fold has written against each other: history, checkpoint, kept weights, predictions and metrics."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

from isic_tf.artifacts import kept_weights, run_directory
from isic_tf.metrics import summaries
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, filesystem

_LOG = logging.getLogger(__name__)

History = list[dict[str, Any]]
# Largest difference between the ROC AUC of metrics.json and that of the predictions beside it.
_TOLERANCE = 1e-6


def kept_epoch(history: Sequence[Mapping[str, Any]], keep: str) -> int:
    """Returns the epoch whose weights are kept: the first of the best ones, or the last.

    Args:
        history: See `run_directory.read_history`, at least one row.
        keep: Which weights are kept: those of the `best` epoch or of the `last`.

    Returns:
        Number of the epoch, from 1.

    Examples:
        >>> kept_epoch([{"epoch": 1, "auc": 0.8}, {"epoch": 2, "auc": 0.7}], "best")
        1
    """
    # Where nothing is held out, the last epoch counts as the best.
    is_last = keep == "last" or "auc" not in history[-1]
    return int((history[-1] if is_last else max(history, key=lambda row: row["auc"]))["epoch"])


def restore_history(directory: str, epochs: int, recorded: str) -> tuple[History, bool]:
    """Reads the history of the epochs that a checkpoint has done; takes it from the checkpoint if the file lacks any.

    Args:
        directory: Directory of the fold.
        epochs: Epochs that the checkpoint has done; 0 where there is none.
        recorded: JSON of the history that the checkpoint holds; "" for one of release 0.1.

    Returns:
        History of exactly these epochs; and whether the file has to be written again.

    Raises:
        CorruptRecordError: The file is damaged or lacks epochs, and the checkpoint does not hold them.
    """
    path = os.path.join(directory, run_directory.HISTORY_FILE)
    found: History = []
    damage = ""
    try:
        found = run_directory.read_history(directory)
    except errors.IsicError as error:
        damage = str(error)
    expected = json.loads(recorded) if recorded else found[:epochs]
    if damage or found[:epochs] != expected:
        reason = damage or f"{path} has {len(found)} epochs, which are not the {epochs} of the checkpoint"
        if not recorded and epochs:
            raise errors.CorruptRecordError(f"{reason}; {_describe_remedy(directory)}")
        _LOG.warning(f"note: {reason}; its epochs are those of the checkpoint now")
        return expected, True
    if len(expected) < epochs:
        raise errors.CorruptRecordError(
            f"expected the {epochs} epochs of the checkpoint in {path}, got {len(found)}; {_describe_remedy(directory)}"
        )
    if len(found) > epochs + 1:
        _LOG.warning(
            f"note: {path} has {len(found)} epochs, but the newest intact checkpoint has {epochs}; those after it are "
            "trained again"
        )
    return expected, False


def refuse_lost_checkpoints(directory: str) -> None:
    """Refuses to train a fold from the start although it has a history of several epochs, but no checkpoint.

    A run that is stopped in its first epoch has at most one epoch in its history when there is no checkpoint.

    Args:
        directory: Directory of the fold.

    Raises:
        CorruptRecordError: The checkpoints are lost.
    """
    found = run_directory.read_history(directory)
    if len(found) > 1:
        raise errors.CorruptRecordError(
            f"expected a checkpoint in {os.path.join(directory, 'checkpoints')}, because {run_directory.HISTORY_FILE} "
            f"has {len(found)} epochs, found none; {_describe_remedy(directory)}"
        )


def find_weights_problem(directory: str, history: Sequence[Mapping[str, Any]], keep: str) -> str:
    """Finds out whether the kept weights are those that the history says.

    Args:
        directory: Directory of the fold.
        history: History of the epochs that are done.
        keep: Which weights are kept: those of the `best` epoch or of the `last`.

    Returns:
        What is wrong, as the begin of an error; "" for nothing.
    """
    if not history:
        return ""
    path = os.path.join(directory, run_directory.BEST_WEIGHTS)
    expected = kept_epoch(history, keep)
    if not filesystem.exists(path):
        return f"expected the weights of epoch {expected} in {path}, found no such file"
    try:
        epoch = kept_weights.check_digest(path)
    except errors.CorruptRecordError as error:
        return str(error).split(";")[0]
    # A later epoch was kept before its checkpoint was written: it is trained again. 0 is of release 0.1.
    if epoch in (0, expected) or epoch > len(history):
        return ""
    return f"expected the weights of epoch {expected} in {path}, found those of epoch {epoch}"


def refuse_lost_weights(directory: str, problem: str) -> None:
    """Refuses to go on without the weights that were kept.

    Args:
        directory: Directory of the fold.
        problem: See `find_weights_problem`; nothing is refused if it is "".

    Raises:
        CorruptRecordError: There is a problem.
    """
    if problem:
        raise errors.CorruptRecordError(f"{problem}; {_describe_remedy(directory)}")


def find_result_problem(directory: str, keep: str) -> str:
    """Finds out whether the results of a fold that is trained to the end are complete and fit each other.

    Args:
        directory: Directory of the fold, with its metrics.
        keep: Which weights were kept: those of the `best` epoch or of the `last`.

    Returns:
        What is wrong; "" for nothing.

    Raises:
        CorruptRecordError: The metrics are damaged.
    """
    metrics = run_directory.read_metrics(directory)
    try:
        history = run_directory.read_history(directory)
    except errors.IsicError as error:
        return str(error)
    if len(history) != metrics.get("epochs"):
        return (
            f"{os.path.join(directory, run_directory.HISTORY_FILE)} has {len(history)} epochs, but "
            f"{run_directory.METRICS_FILE} {metrics.get('epochs', 0)}"
        )
    problem = find_weights_problem(directory, history, keep)
    return problem or (_find_oof_problem(directory, metrics) if "auc" in metrics else "")


def _find_oof_problem(directory: str, metrics: Mapping[str, Any]) -> str:
    path = os.path.join(directory, run_directory.OOF_FILE)
    if not filesystem.exists(path):
        return f"{path} is missing"
    try:
        table = csv_tables.read_table(path, ("image_name", "prediction", "fold", "target"))
        table = table.astype({"prediction": "float64", "target": "int64"})
    except ValueError as error:
        return f"{path} is damaged ({error})"
    if len(table) != metrics.get("images"):
        return f"{path} has {len(table)} images, but {run_directory.METRICS_FILE} {metrics.get('images')}"
    auc = summaries.score(table).get("auc")
    if auc is None or abs(auc - metrics["auc"]) > _TOLERANCE:
        return f"{path} has another ROC AUC than {run_directory.METRICS_FILE}"
    return ""


def _describe_remedy(directory: str) -> str:
    return f"restore it from a copy, or remove {directory} to train the fold again"
