"""Decides the target of each image, by its diagnosis or by its table's own truth, under a policy."""

from typing import Any

import numpy as np
import pandas as pd

from tfrecord_tools.table_formats import diagnoses, value_counts

INDETERMINATE = "its diagnosis is indeterminate"
NOT_UNDERSTOOD = "its diagnosis is not understood"
NO_LABEL = "it has no diagnosis and no target"
MAY_BE_MELANOMA = "its diagnosis is malignant, but leaves open whether it is a melanoma"
NO_MELANOMA = "its table says malignant, but no diagnosis says whether melanoma"
NO_MALIGNANCY = "its table says no melanoma, but no diagnosis says whether malignant"


def decide_verdicts(rows: pd.DataFrame, truth_policy: str, policy: str) -> np.ndarray:
    """Returns what one table says for sure of each image: the target that it must have, if there is one.

    Args:
        rows: DataFrame with `finding` and `truth`.
        truth_policy: What the truth states; "" where the table has none.
        policy: `melanoma` or `malignant`.

    Returns:
        "0", "1", or "" where it is open, objects `[n]`; indeterminate diagnoses are.
    """
    truth = rows["truth"].to_numpy(object)
    by_diagnosis = _decide_findings(rows["finding"], policy, "drop")
    return np.where(_is_final(truth, np.array(truth_policy, object), policy), truth, by_diagnosis)


def _is_final(truth: np.ndarray, truth_policy: np.ndarray, policy: str) -> np.ndarray:
    """Returns whether a table's own truth is the target: benign is no melanoma, and a melanoma is malignant."""
    same = (truth_policy == policy) | (truth_policy == "any")
    implied = truth == ("0" if policy == "melanoma" else "1")
    return (truth != "") & (same | implied)


def _decide_findings(findings: pd.Series, policy: str, indeterminate: str) -> np.ndarray:
    def decide(finding: Any) -> str:
        return (diagnoses.to_target(finding, policy, indeterminate) or "") if finding else ""

    codes, distinct = pd.factorize(findings.to_numpy(object))
    return value_counts.spread([decide(finding) for finding in distinct], codes)


def find_contradictions(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Finds the images of which one table says benign and the other malignant, or one melanoma and the other not.

    Args:
        first: `Diagnosis` or "", objects `[n]`.
        second: `Diagnosis` or "", objects `[n]`.

    Returns:
        bool `[n]`; an indeterminate diagnosis contradicts none.
    """

    def describe_malignancy(finding: object) -> str:
        malignancy = getattr(finding, "malignancy", "")
        return "" if malignancy == "indeterminate" else malignancy

    def describe_melanoma(finding: object) -> str:
        is_sure = describe_malignancy(finding) != "" and not getattr(finding, "may_be_melanoma", False)
        return str(getattr(finding, "is_melanoma", "")) if is_sure else ""

    differs = np.zeros(len(first), bool)
    for describe in (describe_malignancy, describe_melanoma):
        described = []
        for findings in (first, second):
            codes, distinct = pd.factorize(findings)
            described.append(value_counts.spread([describe(each) for each in distinct], codes))
        one, other = described
        differs |= np.asarray((one != "") & (other != "") & (one != other), bool)
    return differs


def decide_targets(rows: pd.DataFrame, policy: str, indeterminate: str) -> tuple[np.ndarray, np.ndarray]:
    """Decides the target of each image.

    A table's own truth stands where it is stated under the same policy, or settles the question: what is benign is no
    melanoma. Otherwise the diagnosis decides. So a table that counts indeterminate diagnoses as benign keeps them.

    Args:
        rows: DataFrame with `finding`, `diagnosis_source`, `truth` and `truth_policy`.
        policy: `melanoma` or `malignant`.
        indeterminate: `drop`, `benign` or `malignant`.

    Returns:
        The target, "0", "1" or "", objects `[n]`, and why it is "", objects `[n]`.
    """
    truth = rows["truth"].to_numpy(object)
    is_final = _is_final(truth, rows["truth_policy"].to_numpy(object), policy)
    target = np.where(is_final, truth, _decide_findings(rows["finding"], policy, indeterminate))
    is_known = rows["finding"].to_numpy(object) != ""
    has_words = rows["diagnosis_source"].to_numpy(object) != ""
    own = NO_MELANOMA if policy == "melanoma" else NO_MALIGNANCY
    is_open = np.array([getattr(finding, "may_be_melanoma", False) for finding in rows["finding"]], bool)
    cases = [target != "", is_open, is_known, has_words, truth != ""]
    reason = np.select(cases, ["", MAY_BE_MELANOMA, INDETERMINATE, NOT_UNDERSTOOD, own], NO_LABEL)
    return target, reason.astype(object)
