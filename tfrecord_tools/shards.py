"""The shards of a record set: which row goes where, and how they come into place."""

import concurrent.futures
import contextlib
import os
import re

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tfrecord_tools import command, folds, schema, tables


def plan(table, num_shards, num_folds, fold_table=None):
    """Decides each row's fold and shard; no patient is in two of either.

    Args:
        table: DataFrame of text with `patient_id`, and `target` in a training split.
        num_shards: Number of shards at the most, split evenly between the folds.
        num_folds: Number of folds; 0 for a split that has none.
        fold_table: DataFrame of text, `image_name` and `fold`, that decides the folds instead; or None.

    Returns:
        The table with int64 columns `fold` (-1 where there are none) and `shard`, ordered by shard.

    Raises:
        ValueError: The folds do not cover the table, split a patient or are no whole numbers; or there are fewer
            shards than folds.
    """
    groups = folds.group_codes(table["patient_id"])
    if num_folds == 0:
        fold = np.full(len(table), schema.UNKNOWN)
    elif fold_table is None:
        fold = folds.assign(groups, pd.to_numeric(table["target"]), num_folds)
    else:
        fold = _given_folds(table, groups, fold_table)
    values = np.unique(fold)
    if num_shards < len(values):
        raise ValueError(f"expected at least one shard for each of {len(values)} folds, got num_shards={num_shards}")
    shard, first = np.zeros(len(table), np.int64), 0
    for position, value in enumerate(values):
        rows = np.flatnonzero(fold == value)
        share = num_shards // len(values) + (position < num_shards % len(values))
        shard[rows] = first + _pack(groups[rows], share)
        first = shard[rows].max() + 1
    return table.assign(fold=fold, shard=shard).sort_values("shard", kind="stable").reset_index(drop=True)


def _pack(groups, num_shards):
    """Packs whole groups into shards of like size, the largest first; gives each row's shard, without gaps."""
    codes, rows = np.unique(groups, return_inverse=True)
    sizes = np.bincount(rows)
    loads, chosen = np.zeros(num_shards), np.zeros(len(codes), np.int64)
    for group in np.argsort(-sizes, kind="stable"):
        chosen[group] = np.argmin(loads)
        loads[chosen[group]] += sizes[group]
    return np.unique(chosen, return_inverse=True)[1][rows]


def _given_folds(table, groups, fold_table):
    given = dict(zip(fold_table["image_name"], fold_table["fold"], strict=True))
    missing = [name for name in table["image_name"] if not given.get(name, "").isdecimal()]
    if missing:
        raise ValueError(f"the folds file must give every image a fold from 0; not so {tables.first_cases(missing)}")
    fold = np.array([int(given[name]) for name in table["image_name"]])
    split = pd.Series(fold).groupby(groups).nunique()
    if (split > 1).any():
        patient = table["patient_id"][np.flatnonzero(groups == split.idxmax())[0]]
        raise ValueError(f"the folds file puts {(split > 1).sum()} patients in two folds, {patient} first: a leak")
    return fold


def write(rows, convert, output, split, workers):
    """Writes all shards of a split, in place only when the last one is whole.

    Args:
        rows: DataFrame ordered by `shard`.
        convert: See `to_records`.
        output: Folder to write; the split's earlier manifest, index and shards there are replaced.
        split: `train` or `test`.
        workers: Number of threads; OpenCV and TensorFlow release the interpreter while they work.

    Returns:
        List of shard names, in order.
    """
    counts = np.bincount(rows["shard"])
    names = [f"{split}{shard:02d}-{count}.tfrec" for shard, count in enumerate(counts)]
    bounds = np.concatenate([[0], np.cumsum(counts)])
    with concurrent.futures.ThreadPoolExecutor(workers) as executor, contextlib.ExitStack() as shards:
        # After an error, no image still queued is waited for.
        shards.callback(executor.shutdown, wait=False, cancel_futures=True)
        with tqdm(total=len(rows), desc=split, unit="image", disable=None) as progress:
            for name, first, last in zip(names, bounds[:-1], bounds[1:], strict=True):
                path = shards.enter_context(command.replaced(os.path.join(output, name)))
                with tf.io.TFRecordWriter(path) as writer:
                    for record in executor.map(convert, range(first, last)):
                        writer.write(record)
                        progress.update()
        for file in ("manifest.json", "index.csv"):
            _remove(os.path.join(output, f"{split}.{file}"))
        for name in set(_shards_there(output, split)) - set(names):
            _remove(os.path.join(output, name))
    return names


def _shards_there(output, split):
    pattern = re.compile(rf"{split}\d+-\d+\.tfrec")
    return sorted(filter(pattern.fullmatch, tf.io.gfile.listdir(output))) if tf.io.gfile.isdir(output) else []


def _remove(path):
    if tf.io.gfile.exists(path):
        tf.io.gfile.remove(path)


def refuse_foreign(output, split):
    """Raises a ValueError where `output` holds shards of the split without a manifest: not ours to replace."""
    manifest = os.path.join(output, f"{split}.manifest.json")
    shards = _shards_there(output, split)
    if shards and not tf.io.gfile.exists(manifest):
        raise ValueError(f"{output} holds {split} shards without a manifest, as {shards[0]}; choose another --output")
