"""Bags of one patient's records in the training stream, so that a network can compare a patient's lesions.

The stream stays one of records; each `bag_size` of them, one after another, are a bag. As many as can be are of one
patient; what is left of several patients shares bags, and each lesion is compared with those of its own patient alone.
So no place is filled up: padding would take the backbone's time and spoil its batch statistics.
"""

import numpy as np
import pandas as pd
import tensorflow as tf

from tfrecord_tools import errors


def size(config):
    """Gives the number of records in a bag of a config; 0 where it has no bags."""
    return config.bag_size if config.context == "set" else 0


def fit_samples_per_epoch(plan, bag_size):
    """Makes a fold's epoch one of whole bags, by up to `bag_size` - 1 records that it leaves out, others each epoch.

    Args:
        plan: See `mixture.plan_fold`.
        bag_size: Records L in a bag.

    Returns:
        The plan with such quotas, and a line more in its text.

    Raises:
        IsicError: There are not enough records for a bag, or some come more than once in an epoch.
    """
    if (plan.quotas > np.bincount(plan.rows["group"])).any():
        raise errors.IsicError("expected weights up to 1 in --mix with --context=set, whose bags hold a lesion once")
    if plan.size < bag_size:
        raise errors.IsicError(
            f"expected a bag of {bag_size} records or more to train on, got {plan.size}; lower --bag_size"
        )
    quotas = plan.quotas.copy()
    for _ in range(plan.size % bag_size):
        quotas[quotas.argmax()] -= 1
    codes = encode_patients(plan.rows)
    alone = len(codes) - np.count_nonzero(np.bincount(codes[codes >= 0])[codes[codes >= 0]] > 1)
    line = f"  {quotas.sum() // bag_size} bags of {bag_size} an epoch; {alone} images have no other of their patient"
    return plan._replace(quotas=quotas, text=f"{plan.text}\n{line}")


def encode_patients(rows):
    """Numbers the patients of rows with `patient_id`, int64 `[n]` from 0; -1 where unknown."""
    return pd.factorize(rows["patient_id"].replace("", None))[0].astype(np.int64)


def arrange_bags(dataset, rows, copies, bag_size, seed, epoch):
    """Brings the records of an epoch into bags; the others of a record's patient in its bag are drawn by the order.

    A patient's records fill bags in the order in which they come. Those that fill none share bags with those of the
    patients next in the index; where two bags cut through a patient's is drawn each epoch. Records of unknown patients
    fill bags as if of one. A patient has fewer than `bag_size` records that wait, as JPEG bytes; where patients are
    whole in a shard, as `tfrecord_tools.build` writes them, only those of the shards that are being read do.

    Args:
        dataset: An epoch's records in random order, each a tuple that begins with the number of its row, int64 `[]`.
        rows: DataFrame of n records with `patient_id` ("" where unknown).
        copies: int64 `[n]`, how often each record comes: 0 or 1; its sum divides by `bag_size`.
        bag_size: Records L in a bag.
        seed: Whole number below 2^31.
        epoch: int64 `[]`.

    Returns:
        Dataset of such tuples, each part `[L, ...]`.
    """
    groups = encode_patients(rows)
    # The unknown come last, as one more patient: the model tells them apart.
    groups = np.where(groups < 0, groups.max(initial=-1) + 1, groups)
    bag_of = _plan(groups, copies, bag_size, seed, epoch)
    numbers = tf.constant(groups)

    def place(seen, record):
        group = tf.gather(numbers, record[0])
        bag = bag_of(group, seen[group])
        return tf.tensor_scatter_nd_add(seen, [[group]], [tf.constant(1, tf.int64)]), (bag, *record)

    placed = dataset.scan(tf.zeros([groups.max() + 1], tf.int64), place)
    bags = placed.group_by_window(lambda bag, *_: bag, lambda _, members: members.batch(bag_size), bag_size)
    return bags.map(lambda _, *members: members)


def _plan(groups, copies, bag_size, seed, epoch):
    """Creates the function from a patient and the number of its records that came before to a bag's number."""
    sizes = tf.math.unsorted_segment_sum(copies, tf.constant(groups), int(groups.max()) + 1)
    full, rests = sizes // bag_size, sizes % bag_size
    first_bag, first_place = (tf.cumsum(counts, exclusive=True) for counts in (full, rests))
    # Beyond the seeds of the shards' order and of the copies.
    key = tf.stack([tf.constant(seed + 2**31, tf.int64), epoch])
    turn = tf.random.stateless_uniform([], key, 0, bag_size, tf.int64)
    places = tf.maximum(tf.reduce_sum(rests), 1)

    def bag_of(group, seen):
        own, place = seen // bag_size, (first_place[group] + seen % bag_size + turn) % places
        return tf.where(own < full[group], first_bag[group] + own, tf.reduce_sum(full) + place // bag_size)

    return bag_of
