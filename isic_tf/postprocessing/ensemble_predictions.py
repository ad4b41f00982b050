"""Blends prediction files; fitted blends are evaluated on patients they were not fitted on."""

import dataclasses
import logging

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files, prediction_sidecar, submission_format
from isic_tf.metrics import cluster_bootstrap, roc
from isic_tf.postprocessing import cross_validation, ensembling, out_of_fold
from tfrecord_tools import cli, errors

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsembleConfig(cli.Config):
    """Which prediction files to blend, and how."""

    predictions: tuple[str, ...] | None = cli.option(
        None, help="CSV files with image_name and prediction, or submissions, one per model."
    )
    output: str | None = cli.option(
        None, help="CSV file to write: image_name, prediction, in the order of the first file."
    )
    sample_submission: str | None = cli.option(
        None, help="Write a submission instead: image_name, target, in the order of this file."
    )
    oof: tuple[str, ...] | None = cli.option(
        None,
        help="Out-of-fold predictions (oof.csv) of the same models in the same order: blends are fitted and evaluated on them.",
    )
    labels: str | None = cli.option(
        None,
        help="With --oof: CSV file with image_name, patient_id and target. Without it, the folds of --oof are trusted to separate patients, and there are no intervals.",
    )
    method: str = cli.option(
        "mean",
        choices=(*ensembling.UNFITTED, *ensembling.FITTED),
        help="Blending method. weighted (without --weights), greedy and stack are fitted on --oof. rank_mean gives ranks, not probabilities.",
    )
    weights: tuple[str, ...] | None = cli.option(
        None, help="Weights for --method=weighted, one per file; fitted if not given."
    )
    join: str = cli.option(
        "equal",
        choices=("equal", "inner"),
        help="equal: all files must hold the same images; inner: blend the images that all files hold.",
    )
    oof_output: str | None = cli.option(
        None, help="CSV file to write the cross-validated predictions of the blend on --oof to."
    )


def ensemble(config):
    """Blends files of the same images from several models, by name.

    Args:
        config: `EnsembleConfig`.

    Raises:
        IsicError: Flags do not go together, a file is damaged, or names, labels or folds do not fit.
    """
    refuse_misfits(
        config.predictions,
        config.output,
        config.sample_submission,
        config.oof,
        config.labels,
        config.method,
        config.weights,
        config.oof_output,
    )
    given = ensembling.weigh(config.weights, len(config.predictions or config.oof)) if config.weights else None
    # Before any fit: all that can fail on names.
    names, scores = read_scores(config.predictions, config.join) if config.predictions else ([], None)
    order = submission_format.match_sample(names, config.sample_submission) if config.sample_submission else names
    blend = given or ensembling.Blend(config.method)
    if config.oof:
        known = out_of_fold.read(config.oof, config.labels, config.join)
        blend, honest = evaluate_ensemble(known, blend, fitted=not given, paths=config.oof)
        overlap = len(set(names) & set(known.names))
        if overlap and blend.method in ensembling.FITTED and not given:
            _LOG.info(f"note: {overlap} images of --predictions were fitted on; --oof_output has honest ones of them")
        if config.oof_output:
            columns = {"prediction": honest, "fold": known.folds, "target": known.targets}
            table = pd.DataFrame({"image_name": known.names, **columns})
            used = prediction_sidecar.used_patient_context(config.oof)
            prediction_files.write_predictions(
                config.oof_output, table, patient_context=used, made_by="isic_tf.ensemble", method=config.method
            )
    if config.predictions:
        blended = pd.Series(ensembling.combine(scores, blend), names)
        column = "target" if config.sample_submission else "prediction"
        table = pd.DataFrame({"image_name": order, column: blended.loc[order].to_numpy()})
        used = prediction_sidecar.used_patient_context(config.predictions)
        prediction_files.write_predictions(
            config.output, table, patient_context=used, made_by="isic_tf.ensemble", method=config.method
        )


def refuse_misfits(predictions, output, sample_submission, oof, labels, method, weights, oof_output):
    """Raises an IsicError where flags do not go together."""
    fitted = method in ensembling.FITTED and not weights
    if not predictions and not oof:
        raise errors.IsicError("expected files to blend in --predictions, or to judge a blend in --oof, or both")
    for name, files in (("predictions", predictions), ("oof", oof)):
        if files and len(files) < 2:
            raise errors.IsicError(f"expected two files or more in --{name}, separated by commas, got {files[0]}")
    if predictions and oof and len(predictions) != len(oof):
        counts = f"{len(predictions)} and {len(oof)}"
        raise errors.IsicError(
            f"expected --predictions and --oof of the same models in the same order, got {counts} files"
        )
    if bool(predictions) != bool(output) or (sample_submission and not output):
        raise errors.IsicError("--predictions are written to --output: expected both or neither")
    if weights and method != "weighted":
        raise errors.IsicError(f"--weights are for --method=weighted, got --method={method}")
    if fitted and not oof:
        remedy = "give those of the same models, in the same order, as --oof"
        raise errors.IsicError(f"--method={method} is fitted on out-of-fold files: {remedy}")
    if (labels or oof_output) and not oof:
        raise errors.IsicError("--labels and --oof_output are for --oof, which is not given")


def read_scores(paths, join):
    """Reads prediction files.

    Args:
        paths: See `ensemble`.
        join: See `prediction_files.join_by_name`.

    Returns:
        List of names in the order of the first file, and float64 scores `[n, files]`.
    """
    read = [prediction_files.read_prediction_file(path, submission=True) for path in paths]
    joined, notes = prediction_files.join_by_name(paths, read, join)
    for note in notes:
        _LOG.info(f"note: {note}")
    return joined[0]["image_name"].tolist(), np.stack([table["prediction"] for table in joined], axis=1)


def evaluate_ensemble(known, blend, fitted, paths):
    """Prints how good a blend is on patients it was not fitted on, beside the best file and the plain mean.

    Args:
        known: See `out_of_fold.read`.
        blend: `ensembling.Blend`, given or to be fitted.
        fitted: Whether it is to be fitted, where its method has weights.
        paths: Out-of-fold files, `[files]`.

    Returns:
        The blend, fitted on all images; and its predictions (float64 `[n]`) of each fold when fitted on the others.
    """
    for note in known.notes:
        _LOG.info(f"note: {note}")
    counts = f"{len(known.names)} images, {known.targets.sum()} malignant"
    patients = "" if known.patients is None else f", {len(set(known.patients))} patients"
    _LOG.info(f"{counts}{patients}; nested: each of {len(set(known.folds))} folds by what was fitted on the others")
    interval = "" if known.patients is None else " 95 % interval over patients"
    _LOG.info(f"{'ROC AUC':<16}in sample  nested {interval}")
    rows = {"best single file": (ensembling.Blend("best"), True), "mean": (ensembling.Blend("mean"), False)}
    rows[blend.method] = (blend, fitted)
    for name, (one, to_fit) in rows.items():
        chosen, honest = predict_nested(known, one, to_fit)
        inside = roc.roc_auc(known.targets, ensembling.combine(known.scores, chosen))
        nested = roc.roc_auc(known.targets, honest)
        interval = cross_validation.describe_interval(known, honest)
        _LOG.info(f"{name:<16}   {inside:.4f}  {nested:.4f} {interval}")
    if known.patients is None:
        _LOG.info("for intervals over patients give --labels")
    if blend.method != "mean":
        print_difference(known, honest, blend.method)
    print_files(known, chosen, paths)
    return chosen, honest


def print_difference(known, honest, name):
    """Prints how much better than the plain mean a blend is, resampled over the same patients, and whether surely so.

    Args:
        known: See `out_of_fold.read`.
        honest: Its predictions, see `predict_nested`.
        name: What it is called.
    """
    pair = np.stack([honest, ensembling.combine(known.scores, ensembling.Blend("mean"))])
    first, second = (roc.roc_auc(known.targets, scores) for scores in pair)
    low, text = first - second, ""
    if known.patients is not None:
        resamples = cluster_bootstrap.affordable(known.targets, 1000)
        figures = {"auc": cluster_bootstrap.roc_auc}
        found = cluster_bootstrap.resample(known.targets, pair, known.patients, figures, resamples)["auc"]
        low, high = cluster_bootstrap.interval(found[0] - found[1])
        text = " [too few patients]" if low is None else f" [{low:+.4f}, {high:+.4f}]"
    _LOG.info(f"{name} less mean: {first - second:+.4f}{text}")
    if low is None or low <= 0:
        _LOG.info("that is not surely better than the plain mean; --method=mean cannot over-fit")


def print_files(known, blend, paths):
    """Prints each file's weight in a blend, a stack's as coefficients of logits, and its ROC AUC alone."""
    kind = "coefficient" if blend.method == "stack" else "weight"
    weights = blend.weights if blend.weights is not None else np.full(len(paths), 1 / len(paths))
    _LOG.info(f"{kind:>11}  ROC AUC  file")
    for path, weight, scores in zip(paths, weights, known.scores.T, strict=True):
        _LOG.info(f"{weight:11.4f}   {roc.roc_auc(known.targets, scores):.4f}  {path}")
    if blend.method == "stack":
        _LOG.info(f"{blend.intercept:11.4f}           (intercept)")


def predict_nested(known, blend, fitted):
    """Predicts each fold by a blend that was fitted on the others.

    A blend of other weights gives other scores to the same images, which are compared over the folds all the same: they
    are brought to the scale of the blend fitted on all, by the shares of images that either scores lower. Within a fold
    the order stays.

    Args:
        known: See `out_of_fold.read`.
        blend: `ensembling.Blend`, given or to be fitted.
        fitted: Whether it is to be fitted.

    Returns:
        The blend, fitted on all; and float64 `[n]`.
    """
    if not fitted or blend.method in ensembling.UNFITTED:
        return blend, ensembling.combine(known.scores, blend)
    middles = lambda count: (np.arange(count) + 0.5) / count  # noqa: E731
    final = ensembling.fit(blend.method, known.scores, known.targets)
    scale = np.sort(ensembling.combine(known.scores, final))

    def fit(scores, targets):
        partial = ensembling.fit(blend.method, scores, targets)
        return partial, np.sort(ensembling.combine(scores, partial))

    def apply(fitted, scores):
        partial, own_scale = fitted
        if np.array_equal(partial.weights, final.weights) and partial.intercept == final.intercept:
            return ensembling.combine(scores, final)
        # In the middle of its step each score leaves room, on both sides of all that were fitted on, for those beyond.
        share = np.interp(ensembling.combine(scores, partial), [0, *own_scale, 1], [0, *middles(len(own_scale)), 1])
        return np.interp(share, [0, *middles(len(scale)), 1], [0, *scale, 1])

    return final, cross_validation.cross_predict(fit, apply, known.scores, known.targets, known.folds)
