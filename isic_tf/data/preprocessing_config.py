"""The preprocessing of a record set: how its images were resized and corrected."""

import json
import os

from tfrecord_tools.io import filesystem

# What is assumed of the making of a record set's images where its manifest does not tell.
_PREPROCESSING = {"resize": "stretch", "trim_border": False, "color_constancy": "none"}


def read_preprocessing(data_dir):
    """Reads how the images of a record set were made, so that image files can be treated alike.

    Args:
        data_dir: Folder of a record set.

    Returns:
        Dict of `resize`, `trim_border` and `color_constancy`; empty where no manifest tells.
    """
    path = os.path.join(data_dir, "train.manifest.json")
    if not filesystem.exists(path):
        return {}
    manifest = json.loads(filesystem.read(path))
    return {name: manifest[name] for name in _PREPROCESSING if manifest.get(name) is not None}


def find_preprocessing(run):
    """Gives how a run's records were made as far as the run, or else their manifest, tells.

    Args:
        run: Dict of the run's flags as text, see `run_directory.read_flags`.

    Returns:
        See `read_preparation`.
    """
    known = {name: run[name] for name in _PREPROCESSING if name in run}
    # Runs from before they kept it: where their records still lie.
    return known or read_preprocessing(run.get("data_dir", "").split(",")[0])
