"""The sidecar of a prediction file: what a CSV of names and numbers cannot say of itself.

Some rules, as those of a prize of the 2020 challenge, forbid judging a lesion by the patient's other images, so every
prediction file says whether that was done.
"""

import json

from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem


def write_sidecar(path, *, patient_context, made_by, **facts):
    """Writes the sidecar of a prediction file, `{path}.json`.

    Args:
        path: Prediction file or submission.
        patient_context: Whether a patient's other images had a part in the prediction of one; None where unknown.
        made_by: Command that wrote it.
        **facts: More for JSON; no names of images or patients.
    """
    content = {"patient_context": patient_context, "made_by": made_by, **facts}
    atomic_write.write_text(f"{path}.json", json.dumps(content, indent=1) + "\n")


def used_patient_context(paths):
    """Tells whether the patients' other images had a part in any of several prediction files.

    Args:
        paths: Prediction files.

    Returns:
        True where one sidecar says so, False where all say that they had none, None where that cannot be told.

    Raises:
        IsicError: A sidecar is damaged.
    """
    said = []
    for path in paths:
        sidecar = f"{path}.json"
        try:
            said.append(json.loads(filesystem.read(sidecar))["patient_context"] if filesystem.exists(sidecar) else None)
        except (ValueError, KeyError, TypeError) as error:
            raise errors.IsicError(
                f"{sidecar} is no sidecar of a prediction file ({error!r}); remove or rename it"
            ) from error
    return True if True in said else None if None in said else False
