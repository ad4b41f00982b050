"""The shards of a record set: which row goes where, and how they come into place."""

import concurrent.futures
import contextlib
import itertools
import os
import re

import numpy as np
import pandas as pd
import tensorflow as tf
from tqdm import tqdm

from tfrecord_tools import command, folds, index, schema, tables


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
    twice = fold_table.loc[fold_table["image_name"].duplicated(), "image_name"]
    if len(twice):
        raise ValueError(f"the folds file must list every image once; not so {tables.first_cases(twice.tolist())}")
    given = fold_table.set_index("image_name")["fold"].reindex(table["image_name"])
    whole = given.str.extract(r"^(\d+)(?:\.0*)?$", expand=False)
    missing = [f"{name}: {value}" for name, value in given[whole.isna()].items()]
    if missing:
        raise ValueError(f"the folds file must give every image a fold from 0; not so {tables.first_cases(missing)}")
    fold = whole.astype(int).to_numpy()
    split = pd.Series(fold).groupby(groups).nunique()
    if (split > 1).any():
        patient = table["patient_id"][np.flatnonzero(groups == split.idxmax())[0]]
        raise ValueError(f"the folds file puts {(split > 1).sum()} patients in two folds, {patient} first: a leak")
    return fold


def write(rows, convert, output, split, workers):
    """Writes the shards of a split under temporary names.

    Args:
        rows: DataFrame ordered by `shard`.
        convert: Function from a row's position to its serialized record.
        output: Folder to write.
        split: `train` or `test`.
        workers: Number of threads; OpenCV and TensorFlow release the interpreter while they work.

    Returns:
        The shards' entries for the manifest, in order, and a `contextlib.ExitStack` to use as a context: left, it puts
        the shards in place, or removes them after an error.
    """
    counts = np.bincount(rows["shard"])
    bounds = np.concatenate([[0], np.cumsum(counts)])
    _remove_leftovers(output, split)
    entries = []
    with concurrent.futures.ThreadPoolExecutor(workers) as executor, contextlib.ExitStack() as shards:
        # After an error, no image still queued is waited for.
        shards.callback(executor.shutdown, wait=False, cancel_futures=True)
        with tqdm(total=len(rows), desc=split, unit="image", disable=None) as progress:
            for shard, (first, last) in enumerate(itertools.pairwise(bounds)):
                name = f"{split}{shard:02d}-{last - first}.tfrec"
                path = shards.enter_context(command.replaced(os.path.join(output, name)))
                with tf.io.TFRecordWriter(path) as writer:
                    for record in executor.map(convert, range(first, last)):
                        writer.write(record)
                        progress.update()
                entries.append(index.describe_shard(path, name, int(last - first)))
        return entries, shards.pop_all()


def remove_others(output, split, entries):
    """Removes the shards of an earlier set of the split that the new one does not replace."""
    for name in set(_shards_there(output, split)) - {entry["name"] for entry in entries}:
        tf.io.gfile.remove(os.path.join(output, name))


def _remove_leftovers(output, split):
    """Removes temporary shards of a killed run."""
    for name in tf.io.gfile.listdir(output) if tf.io.gfile.isdir(output) else ():
        if re.fullmatch(rf"\.tmp-\d+-{split}\d+-\d+\.tfrec", name):
            tf.io.gfile.remove(os.path.join(output, name))


def _shards_there(output, split):
    pattern = re.compile(rf"{split}\d+-\d+\.tfrec")
    return sorted(filter(pattern.fullmatch, tf.io.gfile.listdir(output))) if tf.io.gfile.isdir(output) else []


def refuse_foreign(output, split):
    """Raises a ValueError where `output` holds shards of the split without a manifest: not ours to replace."""
    manifest = os.path.join(output, f"{split}.manifest.json")
    shards = _shards_there(output, split)
    if shards and not tf.io.gfile.exists(manifest):
        raise ValueError(f"{output} holds {split} shards without a manifest, as {shards[0]}; choose another --output")
