"""Predictions written in parts, so that an interrupted prediction can be resumed.

Neither images nor embeddings stay in memory; a name and a number per image do, about 0.4 kB.
"""

import concurrent.futures
import hashlib
import logging
import os
import types
import zipfile
from collections.abc import Iterable, Sequence
from typing import Any, BinaryIO

import numpy as np
import pandas as pd

from isic_tf.artifacts import class_columns, prediction_files
from tfrecord_tools.io import atomic_write, csv_output, csv_tables, filesystem

_LOG = logging.getLogger(__name__)

_DIGEST_FILE = "made_of.txt"
_COLUMNS = ("image_name", "prediction")
_SKIPPED_COLUMNS = ("image_name", "problem")
# Concurrent requests to a bucket: each takes a tenth of a second.
_MAX_REQUESTS = 32
_BLOCK_BYTES = 2**20


def digest(paths: Iterable[str], *facts: Any) -> str:
    """Computes a digest of what predictions depend on.

    Args:
        paths: Weights files, whose content counts.
        *facts: Anything else; its `repr` counts.

    Returns:
        SHA-256 in hexadecimal, 64 characters.
    """
    hashed = hashlib.sha256(repr(facts).encode())
    for path in paths:
        with filesystem.open(path) as file:
            while block := file.read(_BLOCK_BYTES):
                hashed.update(block)
    return hashed.hexdigest()


def list_stamps(paths: Iterable[str]) -> list[tuple[int, int]]:
    """Lists the size (bytes) and the time of the last change (nanoseconds) of each file."""
    with concurrent.futures.ThreadPoolExecutor(_MAX_REQUESTS) as pool:
        return list(pool.map(filesystem.stamp, paths))


def open_parts(directory: str, made_of: str) -> set[int]:
    """Opens the directory of the parts; empties it where its parts depend on something else.

    Args:
        directory: Path of the directory, created where it does not exist.
        made_of: See `digest`.

    Returns:
        Numbers of the parts that are complete.
    """
    path = os.path.join(directory, _DIGEST_FILE)
    if filesystem.exists(path) and filesystem.read(path).decode() != made_of:
        _LOG.info(f"{directory} holds parts of another prediction; starting over")
        filesystem.rmtree(directory)
    if not filesystem.exists(path):
        filesystem.rmtree(directory)
        atomic_write.write_text(path, made_of)
    names = (name for name in filesystem.listdir(directory) if name.startswith("part-") and name.endswith(".csv"))
    return {int(name[len("part-") : -len(".csv")]) for name in names}


def write_part(
    directory: str,
    number: int,
    table: pd.DataFrame,
    embeddings: np.ndarray | None = None,
    skipped: pd.DataFrame | None = None,
) -> None:
    """Writes a part; it counts as complete once all of it is written.

    Args:
        directory: See `open_parts`.
        number: Number of the part.
        table: DataFrame of `image_name`, `prediction` and the columns of `class_columns`.
        embeddings: float32 `[n, folds, f]`, or None.
        skipped: DataFrame of `image_name` and `problem` of the images of the part that were skipped; None for none.
    """
    if skipped is not None:
        atomic_write.write_text(_skipped_path(directory, number), csv_output.format_table(skipped))
    if embeddings is not None:
        path = _path(directory, number, "npy")
        with atomic_write.replaced(path) as temporary, filesystem.open(temporary, "wb") as file:
            np.save(file, embeddings, allow_pickle=False)
    # Last, because its existence marks the part as complete. Nine digits restore a float32 exactly.
    atomic_write.write_text(_path(directory, number, "csv"), csv_output.format_table(table, float_format="%.9g"))


def _path(directory: str, number: int, extension: str) -> str:
    return os.path.join(directory, f"part-{number:05d}.{extension}")


def _skipped_path(directory: str, number: int) -> str:
    return os.path.join(directory, f"skipped-{number:05d}.csv")


def read_skipped(directory: str, numbers: Iterable[int]) -> pd.DataFrame:
    """Reads which images of parts were skipped.

    Args:
        directory: See `open_parts`.
        numbers: Numbers of the parts.

    Returns:
        DataFrame of `image_name` and `problem` (text), in the order of the parts.
    """
    paths = [_skipped_path(directory, number) for number in sorted(numbers)]
    tables = [csv_tables.read_table(path, _SKIPPED_COLUMNS) for path in paths if filesystem.exists(path)]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(_SKIPPED_COLUMNS), dtype=str)


def read_parts(directory: str, numbers: Iterable[int]) -> pd.DataFrame:
    """Reads parts and joins them in the order of their numbers.

    Args:
        directory: See `open_parts`.
        numbers: Numbers of the parts.

    Returns:
        DataFrame of `image_name` (text), `prediction`, the columns of `class_columns` and, where folds have detectors,
        `unlike` (float64).
    """
    # A part whose images were all skipped has no rows.
    paths = [_path(directory, number, "csv") for number in sorted(numbers)]
    tables = [csv_tables.read_table(path, _COLUMNS, may_be_empty=True) for path in paths]
    table = pd.concat(tables, ignore_index=True)
    probabilities = class_columns.list_columns(class_columns.list_classes(table))
    kinds: dict[str, str] = dict.fromkeys(("prediction", *probabilities), "float64")
    if prediction_files.UNLIKE in table:
        table = table.assign(**{prediction_files.UNLIKE: pd.to_numeric(table[prediction_files.UNLIKE])})
    return table.astype(kinds)


def read_part_embeddings(directory: str, numbers: Iterable[int], place: int | slice = slice(None)) -> np.ndarray:
    """Reads the embeddings of parts and joins them in the order of their numbers.

    Args:
        directory: See `open_parts`.
        numbers: Numbers of the parts.
        place: Place of one fold's network, or a slice.

    Returns:
        float32 `[n, f]` by one network, or `[n, folds, f]` by those of a slice.
    """
    return np.concatenate([_load(_path(directory, number, "npy"))[:, place] for number in sorted(numbers)])


def join_embeddings(
    directory: str,
    numbers: Iterable[int],
    names: Sequence[str],
    folds: Sequence[str],
    output: str,
    width: int | None = None,
) -> None:
    """Joins the embeddings of parts in one NumPy archive; one part at a time is in memory.

    Args:
        directory: See `open_parts`.
        numbers: Numbers of the parts.
        names: Names of all images, `[n]`, in the order of the parts.
        folds: Names of the folds, in the order of their networks.
        output: `.npz` file to write: `image_name` (text `[n]`), `fold` (text `[folds]`) and `embeddings` (float32
            `[n, folds, f]`, NaN where a fold did not predict an image).
        width: End of the slice of the last axis that is written; None for all of it.
    """
    paths = [_path(directory, number, "npy") for number in sorted(numbers)]
    shape = (len(names), *_load(paths[0])[..., :width].shape[1:])
    texts = {"image_name": np.array(names), "fold": np.array(folds)}
    with (
        atomic_write.replaced(output) as temporary,
        filesystem.open(temporary, "wb") as file,
        zipfile.ZipFile(_without_seeking(file), "w") as archive,
    ):
        for name, values in texts.items():
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
        with archive.open("embeddings.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_2_0(entry, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for path in paths:
                entry.write(_load(path)[..., :width].tobytes())


def _without_seeking(file: BinaryIO) -> Any:
    """Returns the part of a file's interface that an archive needs to be written from front to back."""
    # Files of a bucket do not return how much was written.
    return types.SimpleNamespace(write=lambda data: file.write(data) or len(data), flush=file.flush)


def _load(path: str) -> np.ndarray:
    with filesystem.open(path) as file:
        return np.load(file, allow_pickle=False)
