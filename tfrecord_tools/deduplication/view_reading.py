"""Reads the images of a set, and keeps small views of each."""

import concurrent.futures
import functools
import glob
import itertools
import logging
from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from tqdm import tqdm

from tfrecord_tools import errors
from tfrecord_tools.deduplication import image_similarity
from tfrecord_tools.imaging import codec, image_files, jpeg_colors, limits
from tfrecord_tools.imaging.sources import naming
from tfrecord_tools.io import csv_tables, filesystem, record_index, tfrecord

_LOG = logging.getLogger(__name__)

_Decoder = Callable[[], tuple[np.ndarray, tuple[int, int]]]


def read_views(
    source: str, workers: int, image_limits: limits.ImageLimits = limits.DEFAULTS
) -> tuple[list[str], list[np.ndarray]]:
    """Reads a set of images, decoded at a reduced scale, and keeps small views of each image.

    Args:
        source: Directories and containers of image files, or glob pattern of shards.
        workers: Number of threads.
        image_limits: What the decoding of an image may take.

    Returns:
        Image names, and for each image what `image_similarity.make_views` returns.

    Raises:
        IsicError: The set is empty or does not exist, or names an image twice.
        CorruptRecordError: An image cannot be decoded.
    """
    names: list[str] = []
    views: list[np.ndarray] = []
    notes: list[str] = []
    total = None
    opened: Iterator[tuple[str, _Decoder]]
    if image_files.is_source(source):
        found, _ = image_files.name_images(image_files.find_images(source, "train"), source)
        for directory in image_files.split_sources(source):
            if "test" in image_files.list_splits(directory):
                _LOG.warning(f"note: the subdirectory test of {directory} is not searched; name it to search it")
        naming.refuse_repeated(found, source)
        files = [(name, path) for name, (path,) in found.items()]
        total = len(files)
        opened = ((name, functools.partial(_decode_file, path, image_limits, notes)) for name, path in files)
    else:
        _refuse_missing(source)
        opened = _open_records(source, image_limits)
    progress = tqdm(desc="read", total=total, unit="image", disable=None)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool, progress:
        # In blocks, so that at most the files of one block are in memory.
        while block := list(itertools.islice(opened, 16 * workers)):
            names += [name for name, _ in block]
            views += pool.map(_make_views, [decode for _, decode in block])
            progress.update(len(block))
    if notes:
        _LOG.warning(f"note: {jpeg_colors.describe_notes(len(notes), notes[0])}")
    if not names:
        raise errors.IsicError(f"no images in {source}, expected {image_files.FORMATS} files; check the path")
    csv_tables.refuse_repeats(source, pd.DataFrame({"image_name": names}), "hold")
    return names, views


def _refuse_missing(source: str) -> None:
    """Refuses a path that does not exist: of what it was to be nothing is known."""
    for part in filesystem.split_list(source):
        if not glob.has_magic(part) and not filesystem.exists(part):
            raise errors.IsicError(f"{part} not found; check the path")


def _decode_file(path: str, image_limits: limits.ImageLimits, notes: list[str]) -> tuple[np.ndarray, tuple[int, int]]:
    return image_files.open_file(path, image_limits, notes)(at_least=image_similarity.SIDE)


def _open_records(pattern: str, image_limits: limits.ImageLimits) -> Iterator[tuple[str, _Decoder]]:
    """Yields the name of each record, and the function that decodes its image."""
    for path in record_index.match_shards(pattern):
        for offset, _, features in tfrecord.read(path):
            source = f"image {features['image_name']}: {path} at byte {offset}"
            decode = functools.partial(
                codec.decode_record, features["image"], source, image_similarity.SIDE, limits=image_limits
            )
            yield features["image_name"], decode


def _make_views(decode: _Decoder) -> np.ndarray:
    image, _ = decode()
    return image_similarity.make_views(image)
