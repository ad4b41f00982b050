"""The preprocessing of a record set: how its images were resized, corrected and encoded."""

import os
import re
from collections.abc import Mapping
from typing import Any

from isic_tf.artifacts import run_flags
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, manifest

# Assumed where the manifest of a record set does not list them.
DEFAULTS: dict[str, Any] = {"resize": "stretch", "trim_border": False, "color_constancy": "none"}

# What the manifest and `tfrecord_tools.build` call the facts of `run_flags.ENCODING`.
WRITTEN = {"record_size": "image_size", "quality": "quality"}

_WORD = re.compile(r"\w{1,30}")


def read_preprocessing(data_dir: str) -> dict[str, Any]:
    """Reads how the images of a record set were made, so that image files can be preprocessed in the same way.

    Args:
        data_dir: Directory of a record set.

    Returns:
        Dict of `resize` (text), `trim_border` (bool) and `color_constancy` (text), without those that the manifest
        does not list, and, if it lists both, `record_size` (side of the images in pixels) and `quality` (of their
        JPEG encoding, 1 to 100); empty if there is no manifest.

    Raises:
        CorruptRecordError: The manifest is damaged.
    """
    manifest_facts = manifest.read_manifest(data_dir, "train") or {}
    found = {name: manifest_facts[name] for name in DEFAULTS if manifest_facts.get(name) is not None}
    for name, value in found.items():
        if type(value) is not type(DEFAULTS[name]) or (isinstance(value, str) and not _WORD.fullmatch(value)):
            raise _explain(data_dir, f"a value like {DEFAULTS[name]!r} as {name}", value)
    encoding = {name: manifest_facts.get(written) for name, written in WRITTEN.items()}
    # Records of several sizes, and those of other tools, do not tell.
    if None in encoding.values():
        return found
    for name, value in encoding.items():
        largest = run_flags.ENCODING[name]
        if type(value) is not int or not 0 < value <= largest:
            raise _explain(data_dir, f"a whole number from 1 to {largest} as {WRITTEN[name]}", value)
    return {**found, **encoding}


def _explain(data_dir: str, expected: str, value: Any) -> errors.CorruptRecordError:
    path = os.path.join(data_dir, "train.manifest.json")
    return errors.CorruptRecordError(
        f"{path}: expected {expected}, got {value!r:.50}; recreate it with tfrecord_tools.index"
    )


def find_preprocessing(run: Mapping[str, str]) -> dict[str, Any]:
    """Finds how the records of a run were made: from the run, or else from the manifest of its records.

    Args:
        run: Dict of the run's options as text, see `run_directory.read_flags`.

    Returns:
        See `read_preprocessing`; words from the run are text. `record_size` and `quality` are those that the run knows:
        predictions of image files by older runs stay what they were.

    Raises:
        CorruptRecordError: The manifest is damaged.
    """
    known: dict[str, Any] = {name: run[name] for name in DEFAULTS if name in run}
    if not known:
        # Early versions did not write these options to the run directory.
        made = read_preprocessing(next(iter(filesystem.split_list(run.get("data_dir", ""))), ""))
        known = {name: value for name, value in made.items() if name in DEFAULTS}
    return {**known, **{name: int(run[name]) for name in run_flags.ENCODING if name in run}}
