"""Features of a run's training images, each by a network that was not trained on it: computed once, kept in the run."""

import logging
import os
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isic_tf.artifacts import related_images, run_directory, safe_npz, seen_images
from isic_tf.data import clinical_metadata, input_pipeline, read_errors
from isic_tf.distribution import cpu
from isic_tf.inference import fold_networks, fold_selection, prediction_inputs, prediction_shards
from tfrecord_tools import errors
from tfrecord_tools.io import filesystem, record_index, saved_files

_LOG = logging.getLogger(__name__)
FEATURES_FILE = "neighbors.npz"
_MAX_BYTES = 2**32
_BATCH_SIZE = 32
_LEAST = 1e-12


class TrainingFeatures(typing.NamedTuple):
    """The training images of a run, n of them."""

    image_name: np.ndarray  # text [n]
    shard: np.ndarray  # int64 [n], place among the sorted shards
    position: np.ndarray  # int64 [n], in the shard
    target: np.ndarray  # int64 [n], 0 or 1, -1 where unknown
    network: np.ndarray  # int64 [n], place of the network whose features they are
    features: np.ndarray  # float16 [n, f], pooled features divided by their length


def read_or_compute(
    workdir: str,
    paths: Sequence[str],
    run: Mapping[str, Any],
    load_networks: Callable[[], fold_networks.FoldNetworks],
    records: str,
) -> TrainingFeatures:
    """Reads the features of the training images from the run, or computes and keeps them.

    Args:
        workdir: Run directory; where it cannot be written to, nothing is kept.
        paths: Weights files of the folds.
        run: Options of the run, see `run_directory.read_network`.
        load_networks: Function that loads the networks of the folds; called where features are computed.
        records: Glob pattern of the shards that the run was trained on.

    Returns:
        `TrainingFeatures` of the images of the records that a network of the run was trained on or judged by. An image
        that all networks were trained on has the features of the first.

    Raises:
        CorruptRecordError: A shard, or the file with the features, is damaged.
        IsicError: No shard matches, or the records hold no training image of the run.
    """
    shards = record_index.match_shards(records)
    # Which images are training images, and their labels, is in files of the folds.
    lists = [
        *run_directory.fold_files(workdir, run_directory.OOF_FILE),
        *run_directory.fold_files(workdir, seen_images.SEEN_FILE),
    ]
    key = prediction_shards.digest([*paths, *lists], prediction_shards.list_stamps(shards))
    path = os.path.join(workdir, FEATURES_FILE)
    kept = _read(path, key)
    if kept:
        return kept
    rows = _list_training_images(workdir, paths, run, records, lists)
    _LOG.info(f"computing the features of {len(rows)} training images, once")
    found = _compute(rows, shards, run, load_networks())
    _keep(path, key, found)
    return found


def _list_training_images(
    workdir: str, paths: Sequence[str], run: Mapping[str, Any], records: str, lists: Sequence[str]
) -> pd.DataFrame:
    """Lists the training images, whose names are in `lists`, with the place of the network that each is judged by."""
    rows = prediction_inputs.list_records(records, {})
    names = [pd.read_csv(path, usecols=["image_name"], dtype=str) for path in lists]
    is_known = related_images.find_photographs(rows, pd.concat(names)) if names else np.zeros(len(rows), bool)
    if not is_known.any():
        raise errors.IsicError(
            f"expected training images of {workdir} in --records, got none of them among {len(rows)} records; name the "
            "shards that it was trained on"
        )
    rows = rows[is_known].reset_index(drop=True)
    unseen = np.stack([fold_selection.find_unseen(path, rows, otherwise=True) for path in paths])
    known = fold_selection.find_targets(rows["image_name"], workdir)
    # Records do not know the classes of the user's table.
    if not run.get("target", "binary").startswith("column"):
        known = np.where(known < 0, rows["known_target"], known)
    return rows.assign(network=unseen.argmax(axis=0), known=known)


def _compute(
    rows: pd.DataFrame, shards: Sequence[str], run: Mapping[str, Any], networks: fold_networks.FoldNetworks
) -> TrainingFeatures:
    predict = networks.make_predictor(embed="pooled")
    fields = run.get("metadata", "")
    # The pooled features do not depend on it.
    unknown = np.zeros((len(rows), clinical_metadata.width(fields)), np.float32) if fields else None
    places: dict[str, int] = {name: place for place, name in enumerate(rows["image_name"])}
    found: np.ndarray | None = None
    with read_errors.explained_read_errors(list(shards)):
        for network, own in rows.groupby("network"):
            dataset = input_pipeline.make_eval_dataset(
                own,
                image_size=run["image_size"],
                batch_size=_BATCH_SIZE,
                metadata=None if unknown is None else unknown[: len(own)],
                threads=cpu.count_cores(),
            )
            for names, _, features in predict(dataset, [int(network)]):
                if found is None:
                    found = np.zeros((len(rows), features.shape[-1]), np.float16)
                found[[places[name] for name in names]] = normalize(features[:, 0])
    shard_places = {shard: place for place, shard in enumerate(sorted(shards))}
    return TrainingFeatures(
        image_name=rows["image_name"].to_numpy(str),
        shard=rows["shard"].map(shard_places).to_numpy(np.int64),
        position=rows["position"].to_numpy(np.int64),
        target=rows["known"].to_numpy(np.int64),
        network=rows["network"].to_numpy(np.int64),
        features=typing.cast(np.ndarray, found),
    )


def normalize(features: np.ndarray) -> np.ndarray:
    """Returns features, float `[n, f]`, divided by their length."""
    return features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), _LEAST)


def _keep(path: str, key: str, found: TrainingFeatures) -> None:
    if sum(array.nbytes for array in found) > _MAX_BYTES // 2:
        _LOG.warning(f"note: the features of {len(found.image_name)} images are not kept, since they are too large")
        return
    try:
        safe_npz.save(path, {"key": np.array(key), **found._asdict()})
    except Exception as error:
        if not (isinstance(error, errors.IsicError) or filesystem.is_failure(error)):
            raise
        _LOG.warning(f"note: {path} cannot be written, so the next call computes the features again")


def _read(path: str, key: str) -> TrainingFeatures | None:
    """Reads the features; None where there are none, or those of other weights or records."""
    if not filesystem.exists(path):
        return None
    with saved_files.explained_damage(path, "a file of features of training images", "remove it"):
        with filesystem.open(path) as file:
            arrays = safe_npz.unpack(file, _MAX_BYTES)
        if str(arrays.pop("key")) != key:
            return None
        found = TrainingFeatures(*(arrays[name] for name in TrainingFeatures._fields))
        kinds = [array.dtype.kind for array in found]
        sizes = {len(array) for array in found}
        if kinds != ["U", "i", "i", "i", "i", "f"] or len(sizes) != 1 or found.features.ndim != 2:
            raise errors.CorruptRecordError(f"its arrays are {kinds} of {sorted(sizes)} images")
        return found
