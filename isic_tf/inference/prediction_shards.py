"""Predictions written part by part, so that a long prediction can be stopped and goes on.

Neither images nor features are kept in memory; a name and a number an image are, about 0.4 kB.
"""

import concurrent.futures
import hashlib
import logging
import os
import types
import zipfile

import numpy as np
import pandas as pd

from tfrecord_tools.io import atomic_write, csv_tables, filesystem

_LOG = logging.getLogger(__name__)

_DIGEST = "made_of.txt"
_COLUMNS = ("image_name", "prediction")
# Questions to a bucket at once: an answer takes a tenth of a second.
_ASKED = 32


def digest(paths, *facts):
    """Names what predictions are made of.

    Args:
        paths: Files of weights.
        *facts: Whatever else they depend on; what it says as text counts.

    Returns:
        Text of 64 characters.
    """
    found = hashlib.sha256(repr(facts).encode())
    for path in paths:
        with filesystem.open(path) as file:
            while block := file.read(2**20):
                found.update(block)
    return found.hexdigest()


def stamps(paths):
    """Lists the size and the time of change of files, see `filesystem.stamp`."""
    with concurrent.futures.ThreadPoolExecutor(_ASKED) as pool:
        return list(pool.map(filesystem.stamp, paths))


def begin(folder, made_of):
    """Opens the folder of the parts, anew where those in it are made of something else.

    Args:
        folder: Folder beside the output.
        made_of: See `digest`.

    Returns:
        Set of the numbers of the parts that are there.
    """
    path = os.path.join(folder, _DIGEST)
    if filesystem.exists(path) and filesystem.read(path).decode() != made_of:
        _LOG.info(f"{folder} holds parts of another prediction: made anew")
        filesystem.rmtree(folder)
    if not filesystem.exists(path):
        filesystem.rmtree(folder)
        atomic_write.write_text(path, made_of)
    names = (name for name in filesystem.listdir(folder) if name.startswith("part-") and name.endswith(".csv"))
    return {int(name[len("part-") : -len(".csv")]) for name in names}


def write(folder, number, table, embeddings=None):
    """Writes a part whole.

    Args:
        folder: See `begin`.
        number: Number of the part.
        table: DataFrame of `image_name` and `prediction`.
        embeddings: float32 `[n, folds, f]` or None.
    """
    if embeddings is not None:
        with atomic_write.replaced(_path(folder, number, "npy")) as temporary, filesystem.open(temporary, "wb") as file:
            np.save(file, embeddings, allow_pickle=False)
    # Last, since it says that the part is there. Nine digits give a float32 back to the bit.
    atomic_write.write_text(_path(folder, number, "csv"), table.to_csv(index=False, float_format="%.9g"))


def _path(folder, number, ending):
    return os.path.join(folder, f"part-{number:05d}.{ending}")


def read(folder, numbers):
    """Joins parts: DataFrame of `image_name` and `prediction` (float64), in order of part."""
    tables = [csv_tables.read_table(_path(folder, number, "csv"), _COLUMNS) for number in sorted(numbers)]
    return pd.concat(tables, ignore_index=True).astype({"prediction": "float64"})


def read_shard_embeddings(folder, numbers, place=slice(None)):
    """Joins the embeddings by one fold's network, float32 `[n, f]`, or by all, `[n, folds, f]`, in order of part."""
    return np.concatenate([_load(_path(folder, number, "npy"))[:, place] for number in sorted(numbers)])


def join_embeddings(folder, numbers, names, folds, output, width=None):
    """Joins the embeddings of parts in one NumPy archive, a part at a time.

    Args:
        folder: See `begin`.
        numbers: Numbers of the parts.
        names: Names of all images in order of part.
        folds: Names of the folds' networks, in their order.
        output: `.npz` file to write: `image_name` (text `[n]`), `fold` (text `[folds]`) and `embeddings` (float32
            `[n, folds, f]`, not a number where an image was not shown to a fold's network).
        width: End of the slice of an image's f numbers that is written; None for all.
    """
    paths = [_path(folder, number, "npy") for number in sorted(numbers)]
    shape = (len(names), *_load(paths[0])[..., :width].shape[1:])
    with (
        atomic_write.replaced(output) as temporary,
        filesystem.open(temporary, "wb") as file,
        zipfile.ZipFile(_without_seeking(file), "w") as archive,
    ):
        for name, values in (("image_name", np.array(names)), ("fold", np.array(folds))):
            with archive.open(f"{name}.npy", "w") as entry:
                np.lib.format.write_array(entry, values, allow_pickle=False)
        with archive.open("embeddings.npy", "w", force_zip64=True) as entry:
            np.lib.format.write_array_header_2_0(entry, {"descr": "<f4", "fortran_order": False, "shape": shape})
            for path in paths:
                entry.write(_load(path)[..., :width].tobytes())


def _without_seeking(file):
    """Gives what an archive needs to write a file from front to back, as one in a bucket is."""
    # TensorFlow's files do not say how much was written.
    return types.SimpleNamespace(write=lambda data: file.write(data) or len(data), flush=file.flush)


def _load(path):
    with filesystem.open(path) as file:
        return np.load(file, allow_pickle=False)
