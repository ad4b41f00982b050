"""Bags of one patient's records in the training stream, so that a network can compare the lesions of a patient.

The stream remains one of records; every `bag_size` consecutive records are a bag. As many bags as possible are of one
patient. The remaining records of several patients share bags, where each lesion is compared only with those of its own
patient. So there is no padding, which would cost time in the backbone and distort its batch statistics.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.data import mixture
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables


class _BagConfig(Protocol):
    @property
    def bag_size(self) -> int: ...

    @property
    def context(self) -> str: ...


def size(config: _BagConfig) -> int:
    """Returns the number of records in a bag.

    Args:
        config: Configuration with `context` and `bag_size`.

    Returns:
        1 or more; 0 if the configuration has no bags.
    """
    return config.bag_size if config.context == "set" else 0


def fit_samples_per_epoch(plan: mixture.Plan, bag_size: int) -> mixture.Plan:
    """Reduces the samples per epoch to a multiple of the bag size.

    Up to `bag_size` - 1 records, sampled anew for each epoch, are left out of it.

    Args:
        plan: See `mixture.plan_fold`.
        bag_size: Records L in a bag.

    Returns:
        The plan with these samples per epoch, and one more line in its text.

    Raises:
        ConfigError: There are not enough records for a bag, or some occur more than once in an epoch.
    """
    sizes = np.bincount(plan.rows["group"])
    if (plan.samples_per_epoch > sizes).any():
        raise errors.ConfigError(
            "expected weights up to 1 in --mix with --context=set, since a bag holds a lesion only once"
        )
    if plan.size < bag_size:
        raise errors.ConfigError(
            f"expected a bag of {bag_size} records or more to train on, got {plan.size}; lower --bag_size"
        )
    samples = plan.samples_per_epoch.copy()
    for _ in range(plan.size % bag_size):
        samples[samples.argmax()] -= 1
    alone = _count_alone(encode_patients(plan.rows))
    line = f"  {samples.sum() // bag_size} bags of {bag_size} per epoch; {alone} images have no other of their patient"
    return plan._replace(samples_per_epoch=samples, text=f"{plan.text}\n{line}")


def _count_alone(codes: np.ndarray) -> int:
    """Counts the records that are the only one of their patient, or of an unknown patient."""
    known = codes[codes >= 0]
    records_of_patient = np.bincount(known)
    return len(codes) - np.count_nonzero(records_of_patient[known] > 1)


def encode_patients(rows: pd.DataFrame) -> np.ndarray:
    """Numbers the patients of records in order of first appearance.

    Args:
        rows: DataFrame of n records with `patient_id` (text, "" where unknown).

    Returns:
        int64 `[n]`, from 0; -1 where unknown.
    """
    return csv_tables.factorize_nonblank(rows["patient_id"])


def arrange_bags(
    dataset: tf.data.Dataset, rows: pd.DataFrame, copies: tf.Tensor, bag_size: int, seed: int, epoch: tf.Tensor
) -> tf.data.Dataset:
    """Arranges the records of an epoch in bags; the order of the records decides which lesions share a bag.

    The records of a patient fill bags in the order in which they arrive. Those that do not fill a bag share bags with
    the remaining records of the patients next in the index; where two such bags separate a patient is sampled for each
    epoch. Records of unknown patients fill bags as if of one patient. Fewer than `bag_size` records of a patient wait
    at a time, as JPEG bytes. If all records of a patient are in one shard, as `tfrecord_tools.build` writes them, only
    patients of the shards that are being read wait.

    Args:
        dataset: The records of an epoch in random order, tuples whose first element is the number of the row, int64
            `[]`.
        rows: DataFrame of n records with `patient_id` ("" where unknown).
        copies: int64 `[n]`, how often each record occurs: 0 or 1; the sum is a multiple of `bag_size`.
        bag_size: Records L in a bag.
        seed: Integer below 2^31.
        epoch: int64 `[]`, from 0.

    Returns:
        Dataset of the same tuples, each part `[L, ...]`.
    """
    patients = encode_patients(rows)
    # Unknown patients are numbered last, as one more patient; the model distinguishes them.
    patients = np.where(patients < 0, patients.max(initial=-1) + 1, patients)
    find_bag = _plan_bags(patients, copies, bag_size, seed, epoch)
    patient_of_row = tf.constant(patients)
    one = tf.constant(1, tf.int64)

    def add_bag(seen: tf.Tensor, record: tuple[Any, ...]) -> tuple[Any, ...]:
        patient = tf.gather(patient_of_row, record[0])
        bag = find_bag(patient, seen[patient])
        return tf.tensor_scatter_nd_add(seen, [[patient]], [one]), (bag, *record)

    none_seen = tf.zeros([patients.max() + 1], tf.int64)
    with_bag = dataset.scan(none_seen, add_bag)
    bags = with_bag.group_by_window(lambda bag, *_: bag, lambda _, members: members.batch(bag_size), bag_size)
    return bags.map(lambda _, *members: members)


def _plan_bags(
    patients: np.ndarray, copies: tf.Tensor, bag_size: int, seed: int, epoch: tf.Tensor
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Creates the function from a patient and the number of its records that came before to the number of a bag.

    Bags of one patient are numbered before those that patients share.
    """
    sizes = tf.math.unsorted_segment_sum(copies, tf.constant(patients), int(patients.max()) + 1)
    own_bags = sizes // bag_size
    remaining = sizes % bag_size
    first_own_bag = tf.cumsum(own_bags, exclusive=True)
    first_place = tf.cumsum(remaining, exclusive=True)
    num_own_bags = tf.reduce_sum(own_bags)
    num_places = tf.maximum(tf.reduce_sum(remaining), 1)
    # Beyond the keys of the shards' order and of the copies.
    key = tf.stack([tf.constant(seed + 2**31, tf.int64), epoch])
    shift = tf.random.stateless_uniform([], key, 0, bag_size, tf.int64)

    def find_bag(patient: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
        own_bag = seen // bag_size
        # Consecutive places of the remaining records of all patients, rotated.
        place = (first_place[patient] + seen % bag_size + shift) % num_places
        shared_bag = num_own_bags + place // bag_size
        return tf.where(own_bag < own_bags[patient], first_own_bag[patient] + own_bag, shared_bag)

    return find_bag
