"""The preprocessing of a record set: how its images were resized and corrected."""

import os
import re
from collections.abc import Mapping
from typing import Any

from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, manifest

# Assumed where the manifest of a record set does not list them.
DEFAULTS: dict[str, Any] = {"resize": "stretch", "trim_border": False, "color_constancy": "none"}

_WORD = re.compile(r"\w{1,30}")


def read_preprocessing(data_dir: str) -> dict[str, Any]:
    """Reads how the images of a record set were made, so that image files can be preprocessed in the same way.

    Args:
        data_dir: Directory of a record set.

    Returns:
        Dict of `resize` (text), `trim_border` (bool) and `color_constancy` (text), without those that the manifest
        does not list; empty if there is no manifest.

    Raises:
        CorruptRecordError: The manifest is damaged.
    """
    manifest_facts = manifest.read_manifest(data_dir, "train") or {}
    found = {name: manifest_facts[name] for name in DEFAULTS if manifest_facts.get(name) is not None}
    for name, value in found.items():
        if type(value) is not type(DEFAULTS[name]) or (isinstance(value, str) and not _WORD.fullmatch(value)):
            raise errors.CorruptRecordError(
                f"{os.path.join(data_dir, 'train.manifest.json')}: expected a value like {DEFAULTS[name]!r} as {name}, "
                f"got {value!r:.50}; recreate it with tfrecord_tools.index"
            )
    return found


def find_preprocessing(run: Mapping[str, str]) -> dict[str, Any]:
    """Finds how the records of a run were made: from the run, or else from the manifest of its records.

    Args:
        run: Dict of the run's options as text, see `run_directory.read_flags`.

    Returns:
        See `read_preprocessing`; values from the run are text.
    """
    known = {name: run[name] for name in DEFAULTS if name in run}
    # Early versions did not write these options to the run directory.
    return known or read_preprocessing(next(iter(filesystem.split_list(run.get("data_dir", ""))), ""))
