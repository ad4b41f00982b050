"""Features of a patient's lesions in a TensorFlow graph, as `lesion_features` and `lesion_numbers` compute them.

All is float64, by the same operations: trees compare these numbers with thresholds, which are numbers of the fit.
"""

import typing
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from isic_tf.data import clinical_metadata
from isic_tf.patient_context import lesion_features, lesion_numbers
from isic_tf.serving import graph_metadata
from tfrecord_tools import schema

# Of 1/2, 1, 3/2 and so on, up to as many lesions as `length_bucketing` takes of a patient. TensorFlow's logarithm may
# differ in the last digit, and thresholds of trees are numbers of lesions or ranks.
_LOGARITHMS = np.log(np.arange(1, 2 * 4096 + 1) / 2)

Columns = dict[str, tf.Tensor]


class PatientLesions(typing.NamedTuple):
    """The lesions of one patient."""

    logit: tf.Tensor  # float64 [n], of the image-level model
    codes: Mapping[str, tf.Tensor]  # int64 [n] by `lesion_features.COLUMNS`, -1 where unknown
    numbers: Mapping[str, tf.Tensor]  # float64 [n] by numeric column, NaN where unknown
    looks: tf.Tensor  # float32 [n, networks, f], embeddings


def tabulate(
    lesions: PatientLesions, patient_context: bool, uses_embeddings: bool, standards: lesion_numbers.Standards
) -> Columns:
    """Computes the input of a patient-context model, see `lesion_features.tabulate` and `lesion_features.add_numbers`.

    Args:
        lesions: The lesions of one patient; with patient context two or more.
        patient_context: Whether to add how each lesion differs from the others.
        uses_embeddings: Whether embeddings are compared too.
        standards: See `lesion_numbers.compute_standards`.

    Returns:
        Dict from the name of a column to float64 `[n]`.
    """
    codes = [lesions.codes[name] for name in lesion_features.COLUMNS]
    metadata = tf.cast(graph_metadata.encode_codes(codes, ",".join(clinical_metadata.FIELDS)), tf.float64)
    columns = {"logit": lesions.logit}
    columns |= {f"metadata_{place}": values for place, values in enumerate(tf.unstack(metadata, axis=1))}
    if patient_context:
        age, _, site = codes
        columns |= _compare_scores(lesions.logit)
        columns |= _compare_sites(lesions.logit, columns["others_mean"], site) | _compare_ages(age)
        if uses_embeddings:
            columns |= _compare_looks(lesions.looks)
    for name, (mean, spread) in standards.items():
        is_known = ~tf.math.is_nan(lesions.numbers[name])
        # Of two constants: a graph multiplies by the reciprocal of one instead, and rounds twice.
        divisor = tf.where(is_known, tf.constant(spread, tf.float64), 1)
        known = tf.where(is_known, (lesions.numbers[name] - mean) / divisor, 0)
        columns |= _tabulate_number(name, known, is_known, patient_context)
    return columns


def _to_float(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(values, tf.float64)


def _count(tests: tf.Tensor) -> tf.Tensor:
    """Counts what is true in each row of `[n, n]`, float64 `[n]`."""
    return tf.reduce_sum(_to_float(tests), axis=1)


def _sum(values: tf.Tensor) -> tf.Tensor:
    """Adds up float64 `[..., n]` over the last axis, rounded once, as pandas' compensated sums almost always are.

    The first digits of all values are added without any rounding (Rump, Ogita and Oishi, SIAM J. Sci. Comput. 2008).
    """
    size = tf.cast(tf.shape(values)[-1], tf.float64)
    limit = 2 * size * tf.reduce_max(tf.abs(values), axis=-1, keepdims=True)
    first = (values + limit) - limit
    return tf.reduce_sum(first, axis=-1) + tf.reduce_sum(values - first, axis=-1)


def _log(counts: tf.Tensor) -> tf.Tensor:
    """Returns the logarithms of multiples of 1/2 from 1 to 4,096, float64, to the bit those of NumPy."""
    return tf.gather(_LOGARITHMS, tf.cast(2 * counts, tf.int32) - 1)


def _fill(like: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    return tf.fill(tf.shape(like), value)


def rank(values: tf.Tensor) -> tf.Tensor:
    """Ranks values in ascending order from 1, ties by their mean, as pandas and SciPy do.

    Args:
        values: float64 `[n]`.

    Returns:
        float64 `[n]`.

    Examples:
        >>> rank(tf.constant([3.0, 1.0, 3.0], tf.float64)).numpy().tolist()
        [2.5, 1.0, 2.5]
    """
    own, others = values[:, tf.newaxis], values[tf.newaxis]
    return _count(others < own) + (_count(others == own) + 1) / 2


def median(values: tf.Tensor) -> tf.Tensor:
    """Computes the median of float64 `[n]`, the mean of the middle two where n is even; float64 `[]`.

    Examples:
        >>> float(median(tf.constant([4.0, 1.0, 2.0, 9.0], tf.float64)))
        3.0
    """
    ordered = tf.sort(values)
    count = tf.size(values)
    return (ordered[(count - 1) // 2] + ordered[count // 2]) / 2


def _compare_scores(own: tf.Tensor) -> Columns:
    probability = tf.sigmoid(own)
    count = _to_float(tf.size(own))
    others = tf.maximum(count - 1, 1)
    from_mean = own - _sum(own) / count
    mean = own - from_mean * count / others
    squares = _sum(tf.square(from_mean)) - tf.square(from_mean) * count / others
    spread = tf.sqrt(tf.maximum(squares, 0) / others)
    descending = rank(-own)
    top = tf.reduce_max(own)
    second = tf.reduce_max(tf.where(descending > 1, own, own.dtype.min))
    highest = tf.where(descending > 1, top, second)
    rest = tf.maximum(_sum(probability) - probability, lesion_features.LEAST_PROBABILITY)
    return {
        "count": _fill(own, _log(count)),
        "others_mean": mean,
        "others_spread": spread,
        "others_highest": highest,
        "others_expected": tf.math.log(rest),
        "less_mean": own - mean,
        "less_median": own - median(own),
        "less_highest": own - highest,
        "z_score": (own - mean) / (spread + lesion_features.MIN_SPREAD),
        "ratio": tf.math.log(tf.maximum(probability, lesion_features.LEAST_PROBABILITY)) - tf.math.log(rest / others),
        "rank": _log(descending),
        "rank_share": (descending - 1) / others,
        "outlier_factor": outlier_factors(tf.abs(own[:, tf.newaxis] - own)),
    }


def _compare_sites(own: tf.Tensor, mean: tf.Tensor, sites: tf.Tensor) -> Columns:
    is_same = sites[:, tf.newaxis] == sites
    at_site = _count(is_same)
    site_sum = _sum(tf.where(is_same, own, 0))
    site_mean = (site_sum - own + mean) / at_site
    share = at_site / _to_float(tf.size(own))
    return {"site_count": _log(at_site), "site_share": share, "site_less_mean": own - site_mean}


def _compare_ages(codes: tf.Tensor) -> Columns:
    age, is_known = _to_float(codes), codes != schema.UNKNOWN
    lowest = tf.reduce_min(tf.where(is_known, age, age.dtype.max))
    highest = tf.reduce_max(tf.where(is_known, age, age.dtype.min))
    at_age = _count(codes[:, tf.newaxis] == codes)
    different = tf.unique(tf.boolean_mask(codes, is_known)).y
    return {
        "age_since": tf.where(is_known, age - lowest, 0),
        "age_until": tf.where(is_known, highest - age, 0),
        "ages": _fill(age, _to_float(tf.size(different))),
        "age_count": _log(at_age),
        "age_share": at_age / _to_float(tf.size(codes)),
    }


def _compare_looks(looks: tf.Tensor) -> Columns:
    """Compares embeddings; the mean over the networks, all of which have seen all images."""
    of_networks = [_measure_distances(_to_float(network)) for network in tf.unstack(looks, axis=1)]
    found = tf.unstack(tf.reduce_mean(tf.stack(of_networks), axis=0), axis=1)
    return dict(zip(("look_distance", "look_rank", "look_outlier_factor"), found, strict=True))


def _measure_distances(features: tf.Tensor) -> tf.Tensor:
    # Row by row: all differences of a hundred lesions at once are a hundred MB, and products lose small distances.
    distances = tf.map_fn(lambda own: tf.sqrt(tf.reduce_sum(tf.square(features - own), axis=1)), features)
    count = _to_float(tf.shape(features)[0])
    mean = tf.maximum(tf.reduce_sum(distances, axis=1) / (count - 1), 1e-12)
    return tf.stack([tf.math.log(mean / median(mean)), (rank(mean) - 0.5) / count, outlier_factors(distances)], axis=1)


def outlier_factors(distances: tf.Tensor) -> tf.Tensor:
    """Computes the local outlier factors that `lesion_features.outlier_factors` computes.

    Args:
        distances: float64 `[n, n]`.

    Returns:
        float64 `[n]`, at most 10; 1 for three points or fewer.
    """
    size = tf.shape(distances)[0]
    count = tf.minimum(lesion_features.NEIGHBORS, size - 1)
    apart = tf.linalg.set_diag(distances, tf.fill([size], distances.dtype.max))
    nearest = tf.math.top_k(-apart, count)
    reach = -nearest.values
    farthest = tf.gather(tf.reduce_max(reach, axis=1), nearest.indices)
    density = 1 / (tf.reduce_mean(tf.maximum(reach, farthest), axis=1) + 1e-10)
    factors = tf.reduce_mean(tf.gather(density, nearest.indices), axis=1) / density
    return tf.where(size <= 3, tf.ones_like(factors), tf.minimum(factors, lesion_features.MAX_OUTLIER_FACTOR))


def _tabulate_number(name: str, known: tf.Tensor, is_known: tf.Tensor, patient_context: bool) -> Columns:
    columns = {f"{name}_value": known, f"{name}_unknown": _to_float(~is_known)}
    if not patient_context:
        return columns
    count = tf.reduce_sum(_to_float(is_known))
    others = tf.maximum(count - 1, 1)
    from_mean = tf.where(is_known, known - _sum(known) / tf.maximum(count, 1), 0)
    less_mean = from_mean * count / others
    squares = _sum(tf.square(from_mean)) - from_mean * less_mean
    z_score = less_mean / (tf.sqrt(tf.maximum(squares, 0) / others) + lesion_numbers.MIN_SPREAD)
    return columns | {f"{name}_less_mean": less_mean, f"{name}_z_score": z_score}
