"""Features of a lesion for patient-context models: its scores, metadata, and how it differs from the patient's others.

Dermatologists look for the mole that differs from a patient's other moles, the "ugly duckling" (Grob and Bonerandi,
Arch. Dermatol. 1998). Sizes of images and files are not used, see `clinical_metadata`; nor are labels of other lesions.
"""

import typing
from collections.abc import Sequence

import numpy as np
import pandas as pd

# `scipy.spatial` and `scipy.stats` are imported at their first use, which most runs do without.
import scipy
from scipy import special

from isic_tf.data import clinical_metadata
from isic_tf.patient_context import lesion_numbers
from tfrecord_tools import schema

COLUMNS = tuple(clinical_metadata.FIELDS.values())
NEIGHBORS = 10
# Logits: where all other lesions of a patient have one score, small differences must not become large z-scores.
MIN_SPREAD = 0.5
# Outlier factors of lesions near exact copies of each other are unbounded.
MAX_OUTLIER_FACTOR = 10.0
# Of an expected number of malignant lesions, before its logarithm.
LEAST_PROBABILITY = 1e-6


class Lesions(typing.NamedTuple):
    """Lesions of some patients, in any order."""

    logits: np.ndarray  # float64 [n, files], of the image-level models
    patients: np.ndarray  # int64 [n]; of an unknown patient a number that no other image has
    codes: pd.DataFrame  # int64 [n, 3], `COLUMNS` encoded as in `tfrecord_tools.schema`, -1 where unknown
    embeddings: np.ndarray | None = None  # float32 [n, networks, f], NaN where a network did not predict the image
    numbers: pd.DataFrame = pd.DataFrame()  # float64 [n, k], numeric columns by name, NaN where unknown; or empty


def gather(
    logits: np.ndarray,
    patients: Sequence[str | int],
    rows: pd.DataFrame,
    embeddings: np.ndarray | None = None,
    numbers: pd.DataFrame | None = None,
) -> Lesions:
    """Gathers what is known of some lesions.

    Args:
        logits: float64 `[n, files]`.
        patients: Text or numbers `[n]`; "" and -1 where unknown.
        rows: DataFrame `[n]` with any of age_approx, sex and anatom_site_general_challenge, as text or as codes; a
            missing column is unknown.
        embeddings: float32 `[n, networks, f]` or None.
        numbers: float64 `[n, k]`, numeric columns by name, NaN where unknown; None for none.

    Returns:
        `Lesions`.
    """
    texts = pd.Series(np.asarray(patients, dtype=object)).astype(str)
    owners = pd.factorize(texts)[0].astype(np.int64)
    is_unknown = texts.isin(["", str(schema.UNKNOWN)]).to_numpy()
    owners[is_unknown] = len(texts) + np.arange(is_unknown.sum())
    codes = pd.DataFrame({name: np.full(len(texts), schema.UNKNOWN, np.int64) for name in COLUMNS})
    for name in set(COLUMNS) & set(rows):
        code_of = {
            value: schema.encode(name, value) if isinstance(value, str) else value for value in rows[name].unique()
        }
        codes[name] = rows[name].map(code_of).to_numpy(np.int64)
    found = Lesions(np.asarray(logits, np.float64), owners, codes, embeddings)
    return found if numbers is None else found._replace(numbers=numbers.reset_index(drop=True))


def is_alone(lesions: Lesions) -> np.ndarray:
    """Returns whether each lesion is the only one of its patient, bool `[n]`."""
    codes = pd.factorize(lesions.patients)[0]
    return np.bincount(codes)[codes] == 1


def tabulate(lesions: Lesions, patient_context: bool) -> pd.DataFrame:
    """Computes the input of a patient-context model, except for numeric columns, see `add_numbers`.

    Args:
        lesions: `Lesions`.
        patient_context: Whether to add how each lesion differs from the patient's other lesions.

    Returns:
        DataFrame of finite float64 `[n, columns]`; the first column, `logit`, is the mean over the files. The features
        of a lesion depend neither on the order of the rows nor on other patients.
    """
    logit = lesions.logits.mean(axis=1)
    parts = [pd.DataFrame({"logit": logit})]
    if lesions.logits.shape[1] > 1:
        parts.append(pd.DataFrame(lesions.logits).add_prefix("logit_"))
    metadata = clinical_metadata.encode(lesions.codes, ",".join(clinical_metadata.FIELDS)).astype(np.float64)
    parts.append(pd.DataFrame(metadata).add_prefix("metadata_"))
    if patient_context:
        # By patient and score, so that sums are rounded alike whatever the order of the rows.
        order = np.lexsort((logit, lesions.patients))
        sorted_codes = lesions.codes.iloc[order].reset_index(drop=True)
        comparisons = [_compare_scores(logit[order], lesions.patients[order], sorted_codes)]
        if lesions.embeddings is not None:
            comparisons.append(_compare_embeddings(lesions.embeddings[order], lesions.patients[order]))
        parts.append(pd.concat(comparisons, axis=1).set_axis(order).sort_index())
    return pd.concat(parts, axis=1)


def add_numbers(
    table: pd.DataFrame, lesions: Lesions, patient_context: bool, standards: lesion_numbers.Standards
) -> pd.DataFrame:
    """Adds the features of numeric columns, which depend on the lesions that a model is fitted on.

    Args:
        table: See `tabulate`.
        lesions: `Lesions` of the same rows.
        patient_context: See `tabulate`.
        standards: The numeric columns that are used and how they are standardized, see
            `lesion_numbers.compute_standards`.

    Returns:
        DataFrame of finite float64 `[n, columns]`.
    """
    if not standards:
        return table
    numbers = lesion_numbers.tabulate(lesions.numbers, lesions.patients, standards, patient_context)
    return pd.concat([table, pd.DataFrame(numbers)], axis=1)


def _compare_scores(logit: np.ndarray, patients: np.ndarray, codes: pd.DataFrame) -> pd.DataFrame:
    """Compares each lesion's score, site and age with those of the patient's others: float64 `[n, columns]`."""
    own = pd.Series(logit)
    probability = pd.Series(special.expit(logit))
    by_patient = own.groupby(patients)
    count = by_patient.transform("size")
    others = np.maximum(count - 1, 1)
    from_mean = own - by_patient.transform("mean")
    mean = own - from_mean * count / others
    squares = (from_mean**2).groupby(patients).transform("sum") - from_mean**2 * count / others
    spread = np.sqrt(np.maximum(squares, 0) / others)
    rank = by_patient.rank(ascending=False)
    highest = _highest_of_others(own, rank, patients)
    rest = np.maximum(probability.groupby(patients).transform("sum") - probability, LEAST_PROBABILITY)
    outlier_factor = [
        outlier_factors(np.abs(np.subtract.outer(logit[rows], logit[rows]))) for rows in _rows_of_patients(patients)
    ]
    columns = {
        "count": np.log(count),
        "others_mean": mean,
        "others_spread": spread,
        "others_highest": highest,
        "others_expected": np.log(rest),
        "less_mean": own - mean,
        "less_median": own - by_patient.transform("median"),
        "less_highest": own - highest,
        "z_score": (own - mean) / (spread + MIN_SPREAD),
        "ratio": np.log(np.maximum(probability, LEAST_PROBABILITY)) - np.log(rest / others),
        "rank": np.log(rank),
        "rank_share": (rank - 1) / others,
        "outlier_factor": np.concatenate(outlier_factor),
        **_compare_sites(own, mean, codes["anatom_site_general_challenge"], patients, count),
        **_compare_ages(codes["age_approx"].replace(schema.UNKNOWN, np.nan), patients, count),
    }
    return pd.DataFrame(columns).astype(np.float64)


def _highest_of_others(own: pd.Series, rank: pd.Series, patients: np.ndarray) -> pd.Series:
    """Returns the highest score of the patient's other lesions; a lone lesion's own score."""
    top = own.groupby(patients).transform("max")
    second = own.where(rank > 1).groupby(patients).transform("max").fillna(top)
    return top.where(rank > 1, second)


def _compare_sites(
    own: pd.Series, mean: pd.Series, sites: pd.Series, patients: np.ndarray, count: pd.Series
) -> dict[str, pd.Series]:
    """Compares each lesion with the patient's others at its anatomical site."""
    by_site = own.groupby([patients, sites])
    at_site = by_site.transform("size")
    # The mean of the patient's others at the site, with the mean of all others as one more lesion.
    site_mean = (by_site.transform("sum") - own + mean) / at_site
    return {"site_count": np.log(at_site), "site_share": at_site / count, "site_less_mean": own - site_mean}


def _compare_ages(age: pd.Series, patients: np.ndarray, count: pd.Series) -> dict[str, pd.Series]:
    """Compares each lesion's visit with the patient's other visits, by the age, which is known in steps of 5 years."""
    by_patient = age.groupby(patients)
    known_age = age.fillna(-1)
    at_age = known_age.groupby([patients, known_age]).transform("size")
    columns = {
        "age_since": age - by_patient.transform("min"),
        "age_until": by_patient.transform("max") - age,
        "ages": by_patient.transform("nunique"),
        "age_count": np.log(at_age),
        "age_share": at_age / count,
    }
    return {name: values.fillna(0) for name, values in columns.items()}


def _compare_embeddings(embeddings: np.ndarray, patients: np.ndarray) -> pd.DataFrame:
    """Computes how far each lesion's embedding is from those of the patient's others, relative to their median.

    Networks of different folds have features of their own, so only distances between features of one network are used,
    and only their proportions; a lesion that several networks predicted gets the mean.
    """
    found = np.zeros((len(patients), 3))
    for rows in _rows_of_patients(patients):
        networks = [network for network in np.moveaxis(embeddings[rows], 1, 0) if np.isfinite(network).all()]
        if len(rows) > 1 and networks:
            found[rows] = np.mean([_measure_distances(network.astype(np.float64)) for network in networks], axis=0)
    return pd.DataFrame(found, columns=["look_distance", "look_rank", "look_outlier_factor"])


def _measure_distances(features: np.ndarray) -> np.ndarray:
    distances = scipy.spatial.distance.squareform(scipy.spatial.distance.pdist(features))
    mean = np.maximum(distances.sum(axis=1) / (len(features) - 1), 1e-12)
    rank = (scipy.stats.rankdata(mean) - 0.5) / len(mean)
    return np.stack([np.log(mean / np.median(mean)), rank, outlier_factors(distances)], axis=1)


def _rows_of_patients(patients: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(patients, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(patients[order])) + 1)


def outlier_factors(distances: np.ndarray) -> np.ndarray:
    """Computes the local outlier factor (Breunig et al., SIGMOD 2000), about 1 where a point is as near as others are.

    The same as scikit-learn's `LocalOutlierFactor`, whose thousand calls for a thousand patients take minutes.

    Args:
        distances: float64 `[n, n]`.

    Returns:
        float64 `[n]`, at most 10, of the 10 nearest neighbors; 1 for three points or fewer, all neighbors of each
        other.
    """
    if len(distances) <= 3:
        return np.ones(len(distances))
    count = min(NEIGHBORS, len(distances) - 1)
    apart = distances + np.diag(np.full(len(distances), np.inf))
    nearest = np.argpartition(apart, count - 1, axis=1)[:, :count]
    reach = np.take_along_axis(apart, nearest, axis=1)
    density = 1 / (np.maximum(reach, reach.max(axis=1)[nearest]).mean(axis=1) + 1e-10)
    return np.minimum(density[nearest].mean(axis=1) / density, MAX_OUTLIER_FACTOR)
