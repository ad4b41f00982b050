"""Keeps decoded images in memory or in a file, so that JPEGs are decoded only once per run, or for several runs."""

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import psutil
from tqdm import tqdm

from isic_tf.artifacts import disk_space
from isic_tf.data import input_pipeline, read_errors, record_loading
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem, manifest, output_lock, temporary_files

_LOG = logging.getLogger(__name__)

# Must change whenever the decoded pixels or the layout of the file change.
_LAYOUT = "decoded uint8, 1"
# Fraction of the free memory or disk that the cache may take.
_MAX_FRACTION = 0.8
_BATCH_SIZE = 32


def open_images(rows: pd.DataFrame, where: str, image_size: int, threads: int) -> record_loading.ImageReader:
    """Decodes all records of a run, or opens the images that an earlier run decoded.

    Args:
        rows: DataFrame of all records that the run reads, see `mixture.read_sets`.
        where: `memory`, or a local directory; its files are reused by later runs of the same records and image size.
        image_size: Side S in pixels.
        threads: Images decoded at once.

    Returns:
        Function from record numbers (int64 `[b]`, the column `number`) to images (uint8 `[b, S, S, 3]`), for
        `input_pipeline.make_train_dataset`.

    Raises:
        ConfigError: The images do not fit, or the directory is not local.
        CorruptRecordError: A record or a cached file is damaged.
    """
    if where != "memory":
        # Before the free space is compared.
        temporary_files.remove_leftovers(where)
    parts, paths, _ = plan_images(rows, where, image_size)
    arrays = [_open(part, path, image_size, threads) for part, path in zip(parts, paths, strict=True)]
    # Array and position of each record number.
    places = np.full((rows["number"].max() + 1, 2), -1)
    for source, part in enumerate(parts):
        places[part["number"]] = np.stack([np.full(len(part), source), np.arange(len(part))], axis=1)
    return functools.partial(_fetch, arrays, places)


def plan_images(rows: pd.DataFrame, where: str, image_size: int) -> tuple[list[pd.DataFrame], list[str | None], int]:
    """Finds out which images must be decoded, logs the size of the cache, and refuses one that does not fit.

    Writes nothing.

    Args:
        rows: See `open_images`.
        where: See `open_images`.
        image_size: Side S in pixels.

    Returns:
        The rows of each record set; the path of its file, None for memory; and the number of images to decode.

    Raises:
        ConfigError: The images do not fit, or the directory is not local.
    """
    if filesystem.is_remote(where):
        raise errors.ConfigError(f"expected memory or a local directory for --cache, got {where!r}")
    parts = [part.sort_values("number") for _, part in rows.groupby("source", sort=False)]
    paths = [None if where == "memory" else _make_path(part, where, image_size) for part in parts]
    missing = sum(len(part) for part, path in zip(parts, paths, strict=True) if not _exists(path))
    bytes_per_image = math.prod((image_size, image_size, 3))
    found = "" if missing else ", made by an earlier run"
    free = free_memory() if where == "memory" else disk_space.count_free_bytes(where)
    _LOG.info(
        f"cache: {len(rows)} images at {image_size} px, {len(rows) * bytes_per_image / 1e9:.2f} GB in {where}{found}, "
        f"{free / 1e9:.1f} GB free"
    )
    _check_room(where, missing * bytes_per_image, free)
    return parts, paths, missing


def _fetch(arrays: Sequence[np.ndarray], places: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    images = np.empty((len(numbers), *arrays[0].shape[1:]), np.uint8)
    for slot, (source, position) in enumerate(places[numbers]):
        images[slot] = arrays[source][position]
    return images


def _exists(path: str | None) -> bool:
    return path is not None and os.path.exists(path)


def _make_path(rows: pd.DataFrame, directory: str, image_size: int) -> str:
    """Names the file of a record set by its content: the shards and their manifests, the records and the size."""
    shards = sorted(set(rows["shard"]))
    manifests = [manifest.read_manifest(os.path.dirname(shards[0]), split) for split in ("train", "test")]
    described = [found["shards"] for found in manifests if found]
    sizes = [(os.path.basename(shard), filesystem.size(shard)) for shard in shards]
    names = rows[["position", "image_name"]].to_csv(index=False)
    content = json.dumps([_LAYOUT, image_size, sizes, described, names], sort_keys=True)
    return os.path.join(directory, f"{hashlib.sha256(content.encode()).hexdigest()[:20]}-{image_size}.npy")


def _check_room(where: str, needed: int, free: float) -> None:
    if needed > _MAX_FRACTION * free:
        remedy = "a directory or none" if where == "memory" else "a directory on a larger disk or none"
        raise errors.ConfigError(
            f"the cache needs {needed / 1e9:.2f} GB, more than {_MAX_FRACTION:.0%} of the {free / 1e9:.2f} GB that are "
            f"free; give --cache={remedy}, or lower --image_size"
        )


def free_memory() -> int:
    """Returns the memory that this process can still allocate, within the limit of its container.

    Returns:
        Bytes.
    """
    free = [psutil.virtual_memory().available]
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        # A missing file, or the word "max", means that there is no limit of this kind.
        with contextlib.suppress(OSError, ValueError):
            free.append(int(filesystem.read(limit)) - int(filesystem.read(used)))
    return min(free)


def _open(rows: pd.DataFrame, path: str | None, image_size: int, threads: int) -> np.ndarray:
    """Returns the decoded images of a record set, from a file where there is one; writes the file otherwise."""
    shape = (len(rows), image_size, image_size, 3)
    if path is None:
        images = np.empty(shape, np.uint8)
        for first, batch in _decode(rows, image_size, threads):
            images[first : first + len(batch)] = batch
        return images
    if not os.path.exists(path):
        # Folds that are trained at the same time, and workers, may share a cache: one of them decodes.
        with output_lock.locked(path, wait=True):
            if not os.path.exists(path):
                _write(rows, path, shape, threads)
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise errors.CorruptRecordError(
            f"{path} is not a complete file of decoded images ({error}); remove it"
        ) from error
    if images.shape != shape or images.dtype != np.uint8:
        raise errors.CorruptRecordError(
            f"{path} holds {images.dtype} of the shape {images.shape}, expected uint8 {shape}; remove it"
        )
    return images


def _write(rows: pd.DataFrame, path: str, shape: Sequence[int], threads: int) -> None:
    """Decodes the images of a record set to a file: uint8 of the shape `[n, S, S, 3]`."""
    with atomic_write.replaced(path) as temporary, open(temporary, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": tuple(shape)}
        np.lib.format.write_array_header_1_0(file, header)
        # Written rather than memory-mapped, so that a full disk raises an error instead of a signal.
        for _, batch in _decode(rows, shape[1], threads):
            file.write(batch.tobytes())


def _decode(rows: pd.DataFrame, image_size: int, threads: int) -> Iterator[tuple[int, np.ndarray]]:
    """Decodes records in order; yields the position of the first record of a batch, and the batch."""
    dataset = input_pipeline.make_eval_dataset(rows, image_size=image_size, batch_size=_BATCH_SIZE, threads=threads)
    source = rows["source"].iloc[0]
    explained = read_errors.explained_read_errors(sorted(set(rows["shard"])))
    first = 0
    with explained, tqdm(total=len(rows), desc=f"decoding {source}", unit="image", disable=None) as progress:
        for images, names in dataset.as_numpy_iterator():
            count = min(len(names), len(rows) - first)
            yield first, images[:count]
            first += count
            progress.update(count)
