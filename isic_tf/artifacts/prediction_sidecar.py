"""Reads and writes the sidecar of a prediction file: facts that a CSV file of names and numbers cannot hold.

Some rules, such as those of one prize of the 2020 challenge, forbid predicting a lesion from the patient's other
images, so the sidecar of every prediction file records whether that was done.
"""

import json
from collections.abc import Sequence
from typing import Any

from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, saved_files


def write_sidecar(path: str, *, patient_context: bool | None, made_by: str, **facts: Any) -> None:
    """Writes the sidecar of a prediction file, `{path}.json`.

    Args:
        path: Prediction file or submission.
        patient_context: Whether the patient's other images contributed to predictions; None where unknown.
        made_by: Command that wrote the predictions.
        **facts: Further values of JSON; no names of images or patients.
    """
    content = {"patient_context": patient_context, "made_by": made_by, **facts}
    atomic_write.write_text(f"{path}.json", json.dumps(content, indent=1) + "\n")


def used_patient_context(paths: Sequence[str]) -> bool | None:
    """Returns whether the patients' other images contributed to any of several prediction files.

    Args:
        paths: Prediction files.

    Returns:
        True where one sidecar records it, False where all sidecars rule it out, None where it is unknown.

    Raises:
        CorruptRecordError: A sidecar is damaged.
    """
    recorded = [_read_patient_context(f"{path}.json") for path in paths]
    if True in recorded:
        return True
    return None if None in recorded else False


def read_class_facts(path: str) -> dict[str, Any]:
    """Reads what the sidecar of a prediction file says of its classes.

    Args:
        path: Prediction file.

    Returns:
        Dict of `classes` and `positive_classes` (lists of text), `multi_label` (bool) and, where known, `target` (text,
        what the network was trained on, see `targets.parse_target`); empty where there is no sidecar, or it says
        nothing of classes.

    Raises:
        CorruptRecordError: The sidecar is damaged.
    """
    sidecar = f"{path}.json"
    if not filesystem.exists(sidecar):
        return {}
    with saved_files.explained_damage(sidecar, "the sidecar of a prediction file", "remove or rename it"):
        content = saved_files.read_json(sidecar)
        if "classes" not in content:
            return {}
        lists = {name: content[name] for name in ("classes", "positive_classes")}
        for name, values in lists.items():
            if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
                raise errors.CorruptRecordError(f"expected {name} to be a list of texts, got {values!r:.50}")
        if not isinstance(content["multi_label"], bool):
            raise errors.CorruptRecordError(
                f"expected multi_label to be true or false, got {content['multi_label']!r:.50}"
            )
        if not isinstance(content.get("target", ""), str):
            raise errors.CorruptRecordError(f"expected target to be a text, got {content['target']!r:.50}")
        known = {"target": content["target"]} if "target" in content else {}
        return {**lists, "multi_label": content["multi_label"], **known}


def read_fold(path: str) -> str | None:
    """Reads which network of a run made the predictions of a file.

    Args:
        path: Prediction file.

    Returns:
        Number of a fold, `full`, or `all`; None where there is no sidecar, or it does not say so.

    Raises:
        CorruptRecordError: The sidecar is damaged.
    """
    sidecar = f"{path}.json"
    if not filesystem.exists(sidecar):
        return None
    with saved_files.explained_damage(sidecar, "the sidecar of a prediction file", "remove or rename it"):
        content = saved_files.read_json(sidecar)
        # Of `oof.csv`, each prediction is by another network.
        is_of_all = "folds" in content or content.get("made_by") == "isic_tf.train"
        fold = content.get("fold", "all" if is_of_all else None)
        if not isinstance(fold, (str, type(None))):
            raise errors.CorruptRecordError(f"expected fold to be a text, got {fold!r:.50}")
        return fold


def _read_patient_context(sidecar: str) -> bool | None:
    if not filesystem.exists(sidecar):
        return None
    with saved_files.explained_damage(sidecar, "the sidecar of a prediction file", "remove or rename it"):
        recorded = saved_files.read_json(sidecar)["patient_context"]
        if not isinstance(recorded, (bool, type(None))):
            raise errors.CorruptRecordError(f"expected patient_context to be true, false or null, got {recorded!r:.50}")
        return recorded
