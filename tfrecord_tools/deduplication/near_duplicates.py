"""Finds near-duplicate images."""

import concurrent.futures
import dataclasses
import functools
import itertools
import logging
import os

import numpy as np
import pandas as pd
from scipy import sparse
from tqdm import tqdm

from tfrecord_tools import cli, errors
from tfrecord_tools.deduplication import image_similarity
from tfrecord_tools.imaging import codec, image_files
from tfrecord_tools.io import atomic_write, csv_tables, filesystem, record_index, tfrecord

_LOG = logging.getLogger(__name__)

# How many nearest views of each are looked at, and how many rows or pairs a thread takes at once.
_NEAREST, _BLOCK = 6, 256
# Number of images up to which a cluster's pairs are all compared; a greater one is many copies of one file.
_LARGEST = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class DuplicatesConfig(cli.Config):
    """Where to look for near-duplicate images."""

    images: str | None = cli.option(
        None, help="Directory of JPEG, PNG or DICOM files, or of a subdirectory train of them."
    )
    records: str | None = cli.option(None, help="Glob pattern of shards, in place of --images.")
    output: str = cli.option(help="CSV file to write: image_name_1, image_name_2, distance.")
    against: str | None = cli.option(
        None, help="Directory or glob pattern of another set: find pairs between the two sets, none within either."
    )
    max_distance: float = cli.option(
        0.4,
        lower=0.0,
        upper=0.99,
        help="Largest distance of a pair: up to 0.2 mostly the same photograph, up to 0.6 the same lesion, above that coincidence.",
    )
    workers: int = cli.option(os.cpu_count() or 1, lower=1, help="Number of threads.")


def find_duplicates(config):
    """Writes the pairs of images that show one photograph; the same input gives the same bytes.

    Args:
        config: `DuplicatesConfig`.

    Raises:
        IsicError: Not just one of `images` and `records` is given, a set is empty or names an image twice, or an image
            cannot be decoded.
    """
    if bool(config.images) == bool(config.records):
        raise errors.IsicError(f"expected one of --images and --records, got {'both' if config.images else 'neither'}")
    sets = [
        read_views(source, config.workers) for source in (config.images or config.records, config.against) if source
    ]
    names = np.array([name for own, _ in sets for name in own], dtype=object)
    first = len(sets[0][0]) if config.against else None
    pairs, distances = match([views for _, own in sets for views in own], first, config.max_distance, config.workers)
    couples = names[pairs] if config.against else np.sort(names[pairs], axis=1)
    table = pd.DataFrame(couples, columns=["image_name_1", "image_name_2"]).assign(distance=distances.round(4))
    table = table.sort_values(["distance", "image_name_1", "image_name_2"])
    atomic_write.write_text(config.output, table.to_csv(index=False))
    counts = " against ".join(str(len(own)) for own, _ in sets)
    clusters = np.sum(np.bincount(_label(pairs, len(names))) > 1)
    alike = f" ({np.sum(couples[:, 0] == couples[:, 1])} of them of one name)" if config.against else ""
    _LOG.info(f"{counts} images: {len(table)} pairs{alike} in {clusters} clusters, written to {config.output}")


def read_views(source, workers):
    """Reads a set, decoded at a reduced scale, and keeps small views of each image.

    Args:
        source: Folder of image files, or glob of shards.
        workers: Number of threads.

    Returns:
        List of names, and list of what `image_similarity.make_views` gives.

    Raises:
        IsicError: See `find_duplicates`.
    """
    names, views = [], []
    opened, total = _open_folder(source) if filesystem.isdir(source) else (_open_records(source), None)
    progress = tqdm(desc="read", total=total, unit="image", disable=None)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool, progress:
        # In blocks, so that no more than one block's files are in memory.
        while block := list(itertools.islice(opened, 16 * workers)):
            names += [name for name, _ in block]
            views += pool.map(lambda item: image_similarity.make_views(item[1]()[0]), block)
            progress.update(len(block))
    if not names:
        raise errors.IsicError(f"expected images in {source}, found none; check the path")
    csv_tables.refuse_repeats(source, pd.DataFrame({"image_name": names}), "hold")
    return names, views


def _open_folder(folder):
    """Gives an iterator of names and functions that decode, and how many there are."""
    files = [(name, path) for name, paths in image_files.find_images(folder, "train").items() for path in paths]
    return ((name, functools.partial(_decode, path)) for name, path in files), len(files)


def _decode(path):
    return image_files.open_file(path)(at_least=image_similarity.SIDE)


def _open_records(pattern):
    for path in record_index.match_shards(pattern):
        for offset, _, features in tfrecord.read(path):
            arguments = features["image"], f"{path} at byte {offset}", image_similarity.SIDE
            yield features["image_name"], functools.partial(codec.decode, *arguments)


def match(views, first, max_distance, workers):
    """Finds the pairs of images that show one photograph.

    Args:
        views: List of uint8 `[views, SIDE, SIDE]`, see `likeness`, an entry an image.
        first: Number of images in the first of two sets, for pairs between them; or None, for pairs within one.
        max_distance: Greatest distance of a pair, below 1.
        workers: Number of threads.

    Returns:
        int64 `[p, 2]`, positions in `views`, the first below the second; float64 `[p]`, distances from 0 to 1.
    """
    owners = np.repeat(np.arange(len(views)), [len(own) for own in views])
    rows = np.concatenate(views)
    rings = _spread("describe", image_similarity.describe, rows, workers)
    pairs = _find_nearest(image_similarity.embed(rings), owners, first, workers)
    compare = functools.partial(image_similarity.compare, rows, rings)
    distances = _spread("compare", compare, pairs, workers)
    # Of a cluster with more images than a view has nearest ones, not all pairs have been compared yet.
    more = _complete(owners, _label(owners[pairs[distances <= max_distance]], len(views)), first)
    more = more[~np.isin(more @ (len(rows), 1), pairs @ (len(rows), 1))]
    distances = np.append(distances, _spread("complete", compare, more, workers))
    couples = owners[np.concatenate([pairs, more])][distances <= max_distance]
    least = pd.Series(distances[distances <= max_distance]).groupby([couples[:, 0], couples[:, 1]]).min()
    return np.array([*least.index], np.int64).reshape(-1, 2), least.to_numpy()


def _spread(step, function, rows, workers):
    """Applies a function to blocks of rows in threads: OpenCV and NumPy mostly let them run side by side."""
    blocks = [rows[at : at + _BLOCK] for at in range(0, max(len(rows), 1), _BLOCK)]
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return np.concatenate(list(tqdm(pool.map(function, blocks), step, len(blocks), unit="block", disable=None)))


def _label(links, count):
    """Numbers the clusters that links, int `[p, 2]`, make of `count` images: int32 `[count]`."""
    graph = sparse.coo_array((np.ones(len(links)), tuple(links.T)), shape=(count, count))
    return sparse.csgraph.connected_components(graph, directed=False)[1]


def _find_nearest(embeddings, owners, first, workers):
    """Finds each row's nearest rows of other images, or of the other set: sorted int64 `[p, 2]`."""
    split = len(owners) if first is None else int(np.searchsorted(owners, first))
    start = 0 if first is None else split
    count = min(_NEAREST, len(owners) - start)

    def search(rows):
        similarity = embeddings[rows] @ embeddings[start:].T
        similarity[owners[rows, None] == owners[None, start:]] = -np.inf
        found = np.argpartition(similarity, -count, axis=1)[:, -count:]
        pairs = np.stack([np.repeat(rows, count), start + found.ravel()], axis=1)
        return pairs[np.isfinite(np.take_along_axis(similarity, found, axis=1).ravel())]

    return np.unique(np.sort(_spread("search", search, np.arange(split), workers), axis=1), axis=0)


def _complete(owners, labels, first):
    """Lists all pairs of rows within clusters of more than two images: int64 `[p, 2]`."""
    wanted = np.isin(labels, np.flatnonzero((np.bincount(labels) > 2) & (np.bincount(labels) <= _LARGEST)))
    rows = np.flatnonzero(wanted[owners])
    clusters = pd.Series(rows).groupby(labels[owners[rows]])
    pairs = [own.to_numpy()[np.stack(np.triu_indices(len(own), 1), axis=1)] for _, own in clusters]
    pairs = np.concatenate([np.zeros((0, 2), np.int64), *pairs])
    one, other = owners[pairs].T
    return pairs[(one < other) if first is None else (one < first) & (first <= other)]
