"""What a second stage gains on patients it was not fitted on, and whether their other lesions are the reason."""

import concurrent.futures
import logging
import time

import numpy as np
import pandas as pd
from tqdm import tqdm

from isic_tf.distribution import cpu
from isic_tf.metrics import paired_auc_test, roc
from isic_tf.patient_context import second_stage
from isic_tf.postprocessing import cross_validation

_LOG = logging.getLogger(__name__)


def evaluate_gain(known, given, method, patient_context, permutations, seed, strategy=None):
    """Prints how good a second stage is on patients it was not fitted on, beside stage one and metadata alone.

    Args:
        known: See `out_of_fold.read`.
        given: `lesion_features.Lesions` of the same images.
        method: One of `second_stage.METHODS`.
        patient_context: Whether it sees the patient's others.
        permutations: Times that patients are shuffled.
        seed: Fixes what is drawn.
        strategy: See `second_stage.fit`.

    Returns:
        float64 `[n]`, each fold predicted by what was fitted on the others; and a dict of figures for JSON.
    """
    start, size = time.monotonic(), np.bincount(pd.factorize(given.patients)[0])
    _LOG.info(
        f"{len(known.names)} images, {known.targets.sum()} malignant; {len(size)} patients with up to {size.max()},"
    )
    _LOG.info(
        f"{(size == 1).sum()} with one; nested: each of {len(set(known.folds))} folds by what was fitted on the others"
    )
    _LOG.info(f"{'ROC AUC':<24}mean of folds  all images  95 % interval over patients")
    scores = {"stage one": known.scores.mean(axis=1)}
    _print_row("stage one", known, scores["stage one"])
    if method not in second_stage.RELATIVE:
        alone = second_stage.predict_nested("boost", given, known.targets, known.folds, False, seed)
        scores["metadata alone"] = alone
        _print_row("with metadata alone", known, alone)
    if patient_context:
        found = second_stage.predict_nested(method, given, known.targets, known.folds, True, seed, strategy)
        scores["context"] = found
        _print_row("with patient context", known, found)
    figures = {
        name: {"mean_of_folds": _mean_of_folds(known, one), "auc": roc.roc_auc(known.targets, one)}
        for name, one in scores.items()
    }
    last = list(scores)[-1]
    for name in list(scores)[:-1]:
        figures[f"{last} less {name}"] = _print_gain(known, scores[last], scores[name], f"{last} less {name}")
    if patient_context and permutations and method not in second_stage.RELATIVE:
        figures["shuffled"] = shuffle(known, given, method, scores, permutations, seed, strategy)
    _LOG.info(f"judged in {time.monotonic() - start:.0f} s")
    return scores[last], figures


def _print_row(name, known, scores):
    figures = f"{_mean_of_folds(known, scores):13.4f}  {roc.roc_auc(known.targets, scores):10.4f}"
    _LOG.info(f"{name:<24}{figures} {cross_validation.describe_interval(known, scores)}")


def _mean_of_folds(known, scores):
    """Gives the mean ROC AUC of the folds that have both classes: scores of different fits are not compared."""
    parts = [(known.targets[own], scores[own]) for own in (known.folds == fold for fold in np.unique(known.folds))]
    return float(np.mean([roc.roc_auc(*part) for part in parts if len(set(part[0])) == 2] or [np.nan]))


def _print_gain(known, scores, others, name):
    """Prints how much greater the ROC AUC is than that of others; gives figures for JSON."""
    table = pd.DataFrame({"image_name": known.names, "patient_id": known.patients, "target": known.targets})
    found = paired_auc_test.compare(*(table.assign(prediction=one) for one in (scores, others)))
    gain = _mean_of_folds(known, scores) - _mean_of_folds(known, others)
    interval = "too few patients" if found["low"] is None else f"[{found['low']:+.4f}, {found['high']:+.4f}]"
    tested = "" if found["delong_p"] is None else f", p by DeLong {found['delong_p']:.2g}"
    _LOG.info(f"{name}: {gain:+.4f} in the mean of folds, {found['difference']:+.4f} {interval} in all images{tested}")
    names = ("difference", "low", "high", "delong_p")
    return {"mean_of_folds": gain, **{one: found[one] for one in names}}


def shuffle(known, given, method, scores, count, seed, strategy=None):
    """Judges again with each fold's patients shuffled among its images: what context gives must vanish.

    Args:
        known: See `judge`.
        given: See `judge`.
        method: See `judge`.
        scores: Dict of `metadata alone` and `context`, float `[n]`.
        count: Times to shuffle.
        seed: Fixes what is drawn.
        strategy: See `second_stage.fit`.

    Returns:
        Dict of `gains`, those of shuffled patients over metadata alone in the mean of folds; `gain`, that of the true
        ones; and `p`, the share of the shuffled ones and the true one that gain as much.
    """
    rng = np.random.default_rng(seed)
    base = _mean_of_folds(known, scores["metadata alone"])
    shuffled = [given._replace(patients=_permute(given.patients, known.folds, rng)) for _ in range(count)]

    def judge_again(one):
        found = second_stage.predict_nested(method, one, known.targets, known.folds, True, seed, strategy)
        return _mean_of_folds(known, found) - base

    # The trees are grown outside of Python's lock.
    with concurrent.futures.ThreadPoolExecutor(cpu.count_cores() if method == "boost" else 1) as pool:
        gains = list(tqdm(pool.map(judge_again, shuffled), "patients shuffled", count, unit="time", disable=None))
    gain = _mean_of_folds(known, scores["context"]) - base
    share = (1 + sum(one >= gain for one in gains)) / (1 + count)
    spread = f"from {min(gains):+.4f} to {max(gains):+.4f}" if count > 1 else "once"
    _LOG.info(
        f"control, patients shuffled among images: {np.mean(gains):+.4f}, {spread}, for {gain:+.4f} of the true ones"
    )
    _LOG.info(f"(p {share:.2g} by permutation)")
    if np.mean(gains) > max(gain, 0.002) / 2:
        _LOG.info("WARNING: shuffled patients gain too, so the gain is not that of context")
    return {"gains": gains, "gain": gain, "p": share}


def _permute(patients, folds, rng):
    permuted = patients.copy()
    for fold in np.unique(folds):
        own = np.flatnonzero(folds == fold)
        permuted[own] = patients[rng.permutation(own)]
    return permuted
