"""Decoded images kept in memory or in a file, so that an epoch after the first reads no JPEG."""

import contextlib
import functools
import hashlib
import json
import logging
import math
import os
import shutil

import numpy as np
import psutil
from tqdm import tqdm

from isic_tf.data import input_pipeline, read_errors
from tfrecord_tools import errors
from tfrecord_tools.io import atomic_write, filesystem

_LOG = logging.getLogger(__name__)

# A change of the decoded pixels or of the file's layout must change this.
_LAYOUT = "decoded uint8, 1"
# Of what is free, for all else that a run needs.
_SHARE = 0.8


def open_images(rows, where, image_size, threads):
    """Decodes all records of a run once, or finds them decoded by an earlier one.

    Args:
        rows: See `mixture.read_sets`; all rows that the run will ask for.
        where: `memory`, or a local folder whose files later runs of the same records and size take up.
        image_size: Side S in pixels.
        threads: Images decoded at once.

    Returns:
        Function from record numbers (int64 `[b]`, the column `number`) to images (uint8 `[b, S, S, 3]`).

    Raises:
        IsicError: The images do not fit, the folder is not local, or a record is corrupt.
    """
    parts, paths, _ = plan_images(rows, where, image_size)
    arrays = [_open(part, path, image_size, threads) for part, path in zip(parts, paths, strict=True)]
    place = np.full((rows["number"].max() + 1, 2), -1)
    for source, part in enumerate(parts):
        place[part["number"]] = np.stack([np.full(len(part), source), np.arange(len(part))], axis=1)
    return functools.partial(_fetch, arrays, place)


def plan_images(rows, where, image_size):
    """Finds what must be decoded, prints how large the cache is, and refuses what would not fit; writes nothing.

    Args:
        rows: See `open_images`.
        where: See `open_images`.
        image_size: Side S in pixels.

    Returns:
        List of the rows of each set, list of their files (None for memory), and the number of images to decode.

    Raises:
        IsicError: The images do not fit, or the folder is not local.
    """
    if "://" in where:
        raise errors.IsicError(f"expected memory or a folder of this machine for --cache, got {where!r}")
    parts = [part.sort_values("number") for _, part in rows.groupby("source", sort=False)]
    paths = [None if where == "memory" else _path(part, where, image_size) for part in parts]
    missing = [len(part) for part, path in zip(parts, paths, strict=True) if not _exists(path)]
    _check_room(where, (len(rows), image_size, image_size, 3), missing)
    return parts, paths, sum(missing)


def _fetch(arrays, place, numbers):
    images = np.empty((len(numbers), *arrays[0].shape[1:]), np.uint8)
    for slot, (source, row) in enumerate(place[numbers]):
        images[slot] = arrays[source][row]
    return images


def _exists(path):
    return path is not None and os.path.exists(path)


def _path(rows, folder, image_size):
    """Names a set's file by what it holds: the shards as their manifest describes them, the records and the size."""
    shards = sorted(set(rows["shard"]))
    manifests = [os.path.join(os.path.dirname(shards[0]), f"{split}.manifest.json") for split in ("train", "test")]
    described = [
        json.loads(filesystem.read(manifest))["shards"] for manifest in manifests if filesystem.exists(manifest)
    ]
    sizes = [(os.path.basename(shard), filesystem.size(shard)) for shard in shards]
    names = rows[["position", "image_name"]].to_csv(index=False)
    content = json.dumps([_LAYOUT, image_size, sizes, described, names], sort_keys=True)
    return os.path.join(folder, f"{hashlib.sha256(content.encode()).hexdigest()[:20]}-{image_size}.npy")


def _check_room(where, shape, missing):
    size, needed = (count * math.prod(shape[1:]) for count in (shape[0], sum(missing)))
    free = free_memory() if where == "memory" else _free_disk(where)
    found = "" if needed else ", made by an earlier run"
    _LOG.info(
        f"cache: {shape[0]} images at {shape[1]} px, {size / 1e9:.2f} GB in {where}{found}, {free / 1e9:.1f} GB free"
    )
    if needed > _SHARE * free:
        remedy = "a folder or none" if where == "memory" else "a folder on a larger disk or none"
        raise errors.IsicError(
            f"the cache needs {needed / 1e9:.2f} GB, more than {_SHARE:.0%} of the {free / 1e9:.2f} GB that are free; "
            f"give --cache={remedy}, or lower --image_size"
        )


def _free_disk(folder):
    folder = os.path.abspath(folder)
    # It may not be there yet.
    while not os.path.exists(folder):
        folder = os.path.dirname(folder)
    return shutil.disk_usage(folder).free


def free_memory():
    """Gives the memory that this process can still have, in bytes, under a container's limit too."""
    free = [psutil.virtual_memory().available]
    for limit, used in (
        ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ):
        # No such file, or the word "max": no limit of this kind.
        with contextlib.suppress(OSError, ValueError):
            free.append(int(filesystem.read(limit)) - int(filesystem.read(used)))
    return min(free)


def _open(rows, path, image_size, threads):
    shape = (len(rows), image_size, image_size, 3)
    if path is None:
        images = np.empty(shape, np.uint8)
        for first, batch in _decode(rows, image_size, threads):
            images[first : first + len(batch)] = batch
        return images
    if not os.path.exists(path):
        with atomic_write.replaced(path) as temporary, open(temporary, "wb") as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            # Written and not mapped, so that a full disk is an error and no signal.
            for _, batch in _decode(rows, image_size, threads):
                file.write(batch.tobytes())
    try:
        images = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise errors.IsicError(f"{path} is no whole file of decoded images ({error}); remove it") from error
    if images.shape != shape or images.dtype != np.uint8:
        raise errors.IsicError(
            f"{path} holds {images.dtype} of the shape {images.shape}, expected uint8 {shape}; remove it"
        )
    return images


def _decode(rows, image_size, threads):
    """Decodes records in order; yields the place of a batch's first one, and the batch."""
    dataset = input_pipeline.make_eval_dataset(rows, image_size=image_size, batch_size=32, threads=threads)
    source, first = rows["source"].iloc[0], 0
    explained = read_errors.explained_read_errors(sorted(set(rows["shard"])))
    with explained, tqdm(total=len(rows), desc=f"decoding {source}", unit="image", disable=None) as progress:
        for images, names in dataset.as_numpy_iterator():
            count = min(len(names), len(rows) - first)
            yield first, images[:count]
            first += count
            progress.update(count)
