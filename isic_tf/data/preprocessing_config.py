"""The preprocessing of a record set: how its images were resized and corrected."""

import json
import os
from collections.abc import Mapping
from typing import Any

from tfrecord_tools.io import filesystem

# Assumed where the manifest of a record set does not list them.
DEFAULTS = {"resize": "stretch", "trim_border": False, "color_constancy": "none"}


def read_preprocessing(data_dir: str) -> dict[str, Any]:
    """Reads how the images of a record set were made, so that image files can be preprocessed in the same way.

    Args:
        data_dir: Directory of a record set.

    Returns:
        Dict of `resize` (text), `trim_border` (bool) and `color_constancy` (text), without those that the manifest
        does not list; empty if there is no manifest.
    """
    path = os.path.join(data_dir, "train.manifest.json")
    if not filesystem.exists(path):
        return {}
    manifest = json.loads(filesystem.read(path))
    return {name: manifest[name] for name in DEFAULTS if manifest.get(name) is not None}


def find_preprocessing(run: Mapping[str, str]) -> dict[str, Any]:
    """Finds how the records of a run were made: from the run, or else from the manifest of its records.

    Args:
        run: Dict of the run's options as text, see `run_directory.read_flags`.

    Returns:
        See `read_preprocessing`; values from the run are text.
    """
    known = {name: run[name] for name in DEFAULTS if name in run}
    # Early versions did not write these options to the run directory.
    return known or read_preprocessing(run.get("data_dir", "").split(",")[0])
