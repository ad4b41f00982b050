"""Finds near-duplicate images."""

import concurrent.futures
import functools
import logging
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from tqdm import tqdm

from tfrecord_tools import errors, schema
from tfrecord_tools.deduplication import image_similarity, local_detail, nearest_views, view_alignment, view_reading
from tfrecord_tools.deduplication.config import DuplicatesConfig
from tfrecord_tools.imaging import limits
from tfrecord_tools.io import (
    atomic_write,
    components,
    csv_output,
    output_lock,
)

_LOG = logging.getLogger(__name__)

# Number of nearest views of each view that are compared.
_NEAREST = 6
# Number of rows or pairs that a thread processes at a time.
_BLOCK = 256
# Number of images in a cluster up to which all its pairs are compared; a larger one is many copies of one file.
_MAX_CLUSTER = 100


@output_lock.locking("output")
def find_duplicates(config: DuplicatesConfig) -> pd.DataFrame:
    """Finds pairs of images that show one photograph, and writes them; the same input gives the same bytes.

    Args:
        config: `DuplicatesConfig`.

    Returns:
        DataFrame of the pairs as written: `image_name_1`, `image_name_2` (text) and `distance` (float64, 0 to 1), in
        order of distance.

    Raises:
        ConfigError: Not exactly one of `images` and `records` is given, or `output` is a directory.
        IsicError: A set is empty, or names an image twice.
        CorruptRecordError: An image cannot be decoded.

    Examples:
        >>> config = DuplicatesConfig(records="records/384/train*.tfrec", output="pairs.csv")
        >>> find_duplicates(config).head()  # doctest: +SKIP
    """
    source = config.images or config.records
    if not source or (config.images and config.records):
        raise errors.ConfigError(
            f"expected one of --images and --records, got {'both' if config.images else 'neither'}"
        )
    atomic_write.refuse_other_kinds(config.output)
    names, views = view_reading.read_views(source, config.workers, limits.extract(config))
    counts = str(len(names))
    first = None
    if config.against:
        first = len(names)
        other_names, other_views = view_reading.read_views(config.against, config.workers, limits.extract(config))
        counts = f"{first} against {len(other_names)}"
        names = names + other_names
        views = views + other_views
    pairs, distances = match_views(views, first, config.max_distance, config.workers)
    couples = np.array(names, dtype=object)[pairs]
    if not config.against:
        couples = np.sort(couples, axis=1)
    table = pd.DataFrame(couples, columns=list(schema.PAIR_COLUMNS)).assign(distance=distances.round(4))
    table = table.sort_values(["distance", *schema.PAIR_COLUMNS], ignore_index=True)
    atomic_write.write_text(config.output, csv_output.format_table(table))
    clusters = np.sum(np.bincount(components.label_components(pairs, len(names))) > 1)
    same_name = np.sum(couples[:, 0] == couples[:, 1])
    note = f" ({same_name} of them with the same name)" if config.against else ""
    _LOG.info(f"{counts} images: {len(table)} pairs{note} in {clusters} clusters, written to {config.output}")
    return table


def match_views(
    views: Sequence[np.ndarray], first: int | None = None, max_distance: float = 0.4, workers: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the pairs of images that show one photograph.

    Args:
        views: For each image, uint8 `[v, SIDE, SIDE]`; see `image_similarity.make_views`.
        first: Number of images in the first of two sets, for pairs between the sets; None for pairs within one set.
        max_distance: Largest distance of a pair, below 1.
        workers: Number of threads.

    Returns:
        int64 `[p, 2]`, positions in `views`, the lower one first; and float64 `[p]`, distances from 0 to 1.

    Examples:
        >>> rng = np.random.default_rng(0)
        >>> images = rng.integers(30, 256, (3, 12, 12, 3), np.uint8).repeat(8, 1).repeat(8, 2)
        >>> images[2] = np.rot90(images[0])
        >>> pairs, distances = match_views([image_similarity.make_views(image) for image in images])
        >>> pairs.tolist(), distances.round(1).tolist()
        ([[0, 2]], [0.0])
    """
    owners = np.repeat(np.arange(len(views)), [len(own) for own in views])
    rows = np.concatenate(views)
    rings = _map_blocks("describe", image_similarity.describe, rows, workers)
    details = _map_blocks("details", local_detail.find_details, rows, workers)
    compare = functools.partial(view_alignment.compare, rows, rings, details)
    pairs = nearest_views.find_nearest(image_similarity.embed(rings), owners, first, _NEAREST, workers)
    distances = _map_blocks("compare", compare, pairs, workers)
    # In a cluster with more images than a view has nearest ones, some pairs have not been compared yet.
    clusters = components.label_components(owners[pairs[distances <= max_distance]], len(views))
    more = _list_cluster_pairs(owners, clusters, first)
    more = more[~np.isin(more @ (len(rows), 1), pairs @ (len(rows), 1))]
    distances = np.append(distances, _map_blocks("complete", compare, more, workers))
    near = distances <= max_distance
    couples = owners[np.concatenate([pairs, more])][near]
    closest = pd.Series(distances[near]).groupby([couples[:, 0], couples[:, 1]]).min()
    return np.array([*closest.index], np.int64).reshape(-1, 2), closest.to_numpy()


def _map_blocks(step: str, function: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, workers: int) -> np.ndarray:
    """Applies a function to blocks of rows in threads; OpenCV and NumPy mostly release the interpreter's lock."""
    blocks = [rows[at : at + _BLOCK] for at in range(0, max(len(rows), 1), _BLOCK)]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(tqdm(pool.map(function, blocks), step, len(blocks), unit="block", disable=None)))


def _list_cluster_pairs(owners: np.ndarray, labels: np.ndarray, first: int | None) -> np.ndarray:
    """Lists all pairs of rows within clusters of more than two images: int64 `[p, 2]`."""
    sizes = np.bincount(labels)
    wanted = np.isin(labels, np.flatnonzero((sizes > 2) & (sizes <= _MAX_CLUSTER)))
    rows = np.flatnonzero(wanted[owners])
    clusters = pd.Series(rows).groupby(labels[owners[rows]])
    listed = [own.to_numpy()[np.stack(np.triu_indices(len(own), 1), axis=1)] for _, own in clusters]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *listed])
    one, other = owners[pairs].T
    wanted_pairs = one < other if first is None else (one < first) & (first <= other)
    return pairs[wanted_pairs]
