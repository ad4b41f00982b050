"""What a second stage sees of a lesion: its scores, what is known of the patient, and how it stands beside the others.

Dermatologists look for the mole that differs from a patient's others, the "ugly duckling" (Grob and Bonerandi, Arch.
Dermatol. 1998). Sizes of image and file are no part of it, see `isic_tf.metadata`; nor is any label of another lesion.
"""

import typing

import numpy as np
import pandas as pd
from scipy import spatial, special, stats

from isic_tf.data import clinical_metadata
from tfrecord_tools import schema

COLUMNS = tuple(clinical_metadata.FIELDS.values())
_NEIGHBOURS = 10
# Logits: a patient whose others all score alike must not make every difference a huge one.
_LEAST_SPREAD = 0.5
# Factors of lesions beside exact copies of each other grow without bound.
_MOST_OUTLYING = 10.0


class Lesions(typing.NamedTuple):
    """Lesions of some patients, in any order."""

    logits: np.ndarray  # float64 [n, files], of stage one
    patients: np.ndarray  # int64 [n]; of an unknown patient a number that no other image has
    codes: pd.DataFrame  # int64 [n, 3], `COLUMNS` as in `tfrecord_tools.schema`, -1 where unknown
    embeddings: np.ndarray | None = (
        None  # float32 [n, networks, f], not a number where a network has not seen the image
    )


def gather(logits, patients, rows, embeddings=None):
    """Gathers what is known of some lesions.

    Args:
        logits: float64 `[n, files]`.
        patients: Text or numbers `[n]`; "" and -1 where unknown.
        rows: DataFrame `[n]` with any of age_approx, sex and anatom_site_general_challenge, as text of a table or as
            codes; what it lacks is unknown.
        embeddings: float32 `[n, networks, f]` or None.

    Returns:
        `Lesions`.
    """
    texts = pd.Series(np.asarray(patients, dtype=object)).astype(str)
    numbers = pd.factorize(texts)[0].astype(np.int64)
    unknown = texts.isin(["", str(schema.UNKNOWN)]).to_numpy()
    numbers[unknown] = len(texts) + np.arange(unknown.sum())
    codes = pd.DataFrame({name: np.full(len(texts), schema.UNKNOWN, np.int64) for name in COLUMNS})
    for name in set(COLUMNS) & set(rows):
        known = {
            value: schema.encode(name, value) if isinstance(value, str) else value for value in rows[name].unique()
        }
        codes[name] = rows[name].map(known).to_numpy(np.int64)
    return Lesions(np.asarray(logits, np.float64), numbers, codes, embeddings)


def is_alone(lesions):
    """Tells of each lesion whether its patient has no other, bool `[n]`."""
    codes = pd.factorize(lesions.patients)[0]
    return np.bincount(codes)[codes] == 1


def tabulate(lesions, patient_context):
    """Lists what a second stage sees.

    Args:
        lesions: `Lesions`.
        patient_context: Whether to add how each stands beside the patient's others.

    Returns:
        DataFrame of finite float64 `[n, columns]`; the first column, `logit`, is the mean over the files. What is said
        of a lesion does not depend on the order of rows, nor on other patients.
    """
    logit = lesions.logits.mean(axis=1)
    parts = [pd.DataFrame({"logit": logit})]
    if lesions.logits.shape[1] > 1:
        parts.append(pd.DataFrame(lesions.logits).add_prefix("logit_"))
    known = clinical_metadata.encode(lesions.codes, ",".join(clinical_metadata.FIELDS)).astype(np.float64)
    parts.append(pd.DataFrame(known).add_prefix("metadata_"))
    if patient_context:
        # By patient and score: sums round alike whatever the order of rows.
        order = np.lexsort((logit, lesions.patients))
        sorted_codes = lesions.codes.iloc[order].reset_index(drop=True)
        beside = [_compare_scores(logit[order], lesions.patients[order], sorted_codes)]
        if lesions.embeddings is not None:
            beside.append(_compare_looks(lesions.embeddings[order], lesions.patients[order]))
        parts.append(pd.concat(beside, axis=1).set_axis(order).sort_index())
    return pd.concat(parts, axis=1)


def _compare_scores(logit, patients, codes):
    """Compares each lesion's score, site and age with those of the patient's others: float64 `[n, columns]`."""
    table = pd.DataFrame({"logit": logit, "probability": special.expit(logit)})
    table["site"], table["age"] = (
        codes["anatom_site_general_challenge"],
        codes["age_approx"].replace(schema.UNKNOWN, np.nan),
    )
    by_patient, by_site = table.groupby(patients), table.groupby([patients, table["site"]])
    count, own = by_patient["logit"].transform("size"), table["logit"]
    others = np.maximum(count - 1, 1)
    from_mean = own - by_patient["logit"].transform("mean")
    mean = own - from_mean * count / others
    squares = (from_mean**2).groupby(patients).transform("sum") - from_mean**2 * count / others
    spread = np.sqrt(np.maximum(squares, 0) / others)
    rank = by_patient["logit"].rank(ascending=False)
    top = by_patient["logit"].transform("max")
    second = own.where(rank > 1).groupby(patients).transform("max").fillna(top)
    highest = top.where(rank > 1, second)
    rest = np.maximum(by_patient["probability"].transform("sum") - table["probability"], 1e-6)
    found = {
        "count": np.log(count),
        "others_mean": mean,
        "others_spread": spread,
        "others_highest": highest,
        "others_expected": np.log(rest),
        "less_mean": own - mean,
        "less_median": own - by_patient["logit"].transform("median"),
        "less_highest": own - highest,
        "z_score": (own - mean) / (spread + _LEAST_SPREAD),
        "ratio": np.log(np.maximum(table["probability"], 1e-6)) - np.log(rest / others),
        "rank": np.log(rank),
        "rank_share": (rank - 1) / others,
        "outlier_factor": np.concatenate(
            [
                outlier_factors(np.abs(np.subtract.outer(logit[rows], logit[rows])))
                for rows in _rows_of_patients(patients)
            ]
        ),
    }
    at_site = by_site["logit"].transform("size")
    # The mean of the patient's others at the site, with that of all others as one more.
    site_mean = (by_site["logit"].transform("sum") - own + mean) / at_site
    found |= {"site_count": np.log(at_site), "site_share": at_site / count, "site_less_mean": own - site_mean}
    return pd.DataFrame(found | _compare_ages(table["age"], patients, count)).astype(np.float64)


def _compare_ages(age, patients, count):
    """Tells how the patient's images are spread over visits, as the age in steps of five years shows them."""
    by_patient, at_age = age.groupby(patients), age.fillna(-1).groupby([patients, age.fillna(-1)]).transform("size")
    first, last = by_patient.transform("min"), by_patient.transform("max")
    found = {"age_since": age - first, "age_until": last - age, "ages": by_patient.transform("nunique")}
    found |= {"age_count": np.log(at_age), "age_share": at_age / count}
    return {name: values.fillna(0) for name, values in found.items()}


def _compare_looks(embeddings, patients):
    """Tells how far each lesion's features are from those of the patient's others, as shares of what is usual there.

    Networks of different folds have features of their own, so only distances in one network's, and only their
    proportions, are told; a lesion that several networks saw gets the mean.
    """
    found = np.zeros((len(patients), 3))
    for rows in _rows_of_patients(patients):
        seen = [network for network in np.moveaxis(embeddings[rows], 1, 0) if np.isfinite(network).all()]
        if len(rows) > 1 and seen:
            found[rows] = np.mean([_depart(network.astype(np.float64)) for network in seen], axis=0)
    return pd.DataFrame(found, columns=["look_distance", "look_rank", "look_outlier_factor"])


def _depart(features):
    distances = spatial.distance.squareform(spatial.distance.pdist(features))
    mean = np.maximum(distances.sum(axis=1) / (len(features) - 1), 1e-12)
    rank = (stats.rankdata(mean) - 0.5) / len(mean)
    return np.stack([np.log(mean / np.median(mean)), rank, outlier_factors(distances)], axis=1)


def _rows_of_patients(patients):
    order = np.argsort(patients, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(patients[order])) + 1)


def outlier_factors(distances):
    """Computes the local outlier factor (Breunig et al., SIGMOD 2000), about 1 where a point is as near as others are.

    As scikit-learn's `LocalOutlierFactor`, whose thousand calls for a thousand patients take minutes.

    Args:
        distances: float64 `[n, n]`.

    Returns:
        float64 `[n]`, 10 at most, of the nearest 10; 1 where there are three points or fewer, all near each other.
    """
    if len(distances) <= 3:
        return np.ones(len(distances))
    count = min(_NEIGHBOURS, len(distances) - 1)
    apart = distances + np.diag(np.full(len(distances), np.inf))
    nearest = np.argpartition(apart, count - 1, axis=1)[:, :count]
    reach = np.take_along_axis(apart, nearest, axis=1)
    density = 1 / (np.maximum(reach, reach.max(axis=1)[nearest]).mean(axis=1) + 1e-10)
    return np.minimum(density[nearest].mean(axis=1) / density, _MOST_OUTLYING)
