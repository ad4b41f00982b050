"""Combines prediction files; fitted ensembles are evaluated on patients that they were not fitted on."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files, prediction_sidecar, submission_format
from isic_tf.data.targets import class_set
from isic_tf.postprocessing import class_ensembling, ensemble_evaluation, ensembling, out_of_fold
from isic_tf.postprocessing.ensemble_config import EnsembleConfig
from tfrecord_tools.io import output_lock

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class EnsembleResult:
    """A blend and what it predicts.

    Args:
        blend: The formula, with its weights.
        predictions: The table that was written to `output`: `image_name` and `prediction` (or `target`, with a sample
            submission), float64, and for files of several classes `probability_CLASS` (float64); None without
            `predictions`.
        out_of_fold: Cross-validated predictions: `image_name`, `prediction` (float64), `fold` and `target` (int64), and
            `probability_CLASS` (float64) of classes where nothing was fitted; None without `oof`.
        metrics: See `ensemble_evaluation.EnsembleEvaluation`; None without `oof`.

    Examples:
        >>> result = EnsembleResult(ensembling.Blend("mean"), None, None, None)
        >>> result.blend.method
        'mean'
    """

    blend: ensembling.Blend
    predictions: pd.DataFrame | None
    out_of_fold: pd.DataFrame | None
    metrics: pd.DataFrame | None


@output_lock.locking("output", "oof_output")
def ensemble(config: EnsembleConfig) -> EnsembleResult:
    """Combines files of the same images from several models, by name.

    Args:
        config: The files and the method.

    Returns:
        The blend, its predictions, and its evaluation on the out-of-fold files.

    Raises:
        ConfigError: The weights are not valid.
        IsicError: A file is damaged, or names, labels or folds do not fit.

    Examples:
        >>> import os, tempfile
        >>> with tempfile.TemporaryDirectory() as directory:
        ...     paths = [os.path.join(directory, f"{name}.csv") for name in ("b4", "b6", "blend")]
        ...     for path, score in zip(paths[:2], (0.25, 0.75)):
        ...         pd.DataFrame({"image_name": ["a"], "prediction": [score]}).to_csv(path, index=False)
        ...     result = ensemble(EnsembleConfig(predictions=paths[:2], output=paths[2]))
        >>> result.predictions.to_dict("records")
        [{'image_name': 'a', 'prediction': 0.5}]
    """
    blend = ensembling.Blend(config.method)
    if config.weights:
        blend = ensembling.weigh(config.weights, config.num_models)
    names: list[str] = []
    order: list[str] = []
    scores = np.empty((0, config.num_models))
    classes = None
    # Before any fit: all that can fail on names.
    if config.predictions:
        names, scores = read_scores(config.predictions, config.join)
        order = names
        if config.sample_submission:
            order = submission_format.match_sample(names, config.sample_submission)
        else:
            classes = _find_classes(config, config.predictions)
    evaluation = None
    oof_table = None
    if config.oof:
        evaluation, oof_table = _evaluate(config, config.oof, blend, names)
        blend = evaluation.blend
    table = None
    if config.predictions and config.output:
        table = pd.DataFrame({"image_name": names, "prediction": ensembling.combine(scores, blend)})
        if classes:
            table = _add_classes(table, config.predictions, classes, blend)
        if config.sample_submission:
            table = table.set_index("image_name").loc[order].reset_index().rename(columns={"prediction": "target"})
        _write(config.output, table, config.predictions, config.method, classes)
    return EnsembleResult(blend, table, oof_table, evaluation.metrics if evaluation else None)


def _evaluate(
    config: EnsembleConfig, paths: Sequence[str], blend: ensembling.Blend, names: Sequence[str]
) -> tuple[ensemble_evaluation.EnsembleEvaluation, pd.DataFrame]:
    """Fits and evaluates a blend on out-of-fold files; returns its cross-validated predictions as a table too."""
    known = out_of_fold.read(paths, config.labels, config.join)
    is_written = bool(config.oof_output) and not config.is_fitted
    classes = _find_classes(config, paths) if is_written else None
    evaluation = ensemble_evaluation.evaluate_ensemble(known, blend, config.is_fitted, paths)
    overlap = len(set(names) & set(known.names))
    if overlap and config.is_fitted:
        _LOG.warning(
            f"note: the ensemble was fitted on {overlap} images of --predictions; --oof_output writes cross-validated "
            "predictions of them"
        )
    table = pd.DataFrame({"image_name": known.names, "prediction": evaluation.predictions})
    if config.oof_output and config.is_fitted and class_ensembling.have_classes(paths):
        _LOG.warning("note: --oof_output holds no classes: only the single prediction of a fitted ensemble is nested")
    if classes:
        table = _add_classes(table, paths, classes, evaluation.blend)
    table = table.assign(fold=known.folds, target=known.targets)
    if config.oof_output:
        _write(config.oof_output, table, paths, config.method, classes)
    return evaluation, table


def _find_classes(config: EnsembleConfig, paths: Sequence[str]) -> class_set.ClassSet | None:
    """Returns the classes whose probabilities are combined; None for none."""
    return class_ensembling.find_classes(paths, config.method) if config.classes == "keep" else None


def _add_classes(
    table: pd.DataFrame, paths: Sequence[str], classes: class_set.ClassSet, blend: ensembling.Blend
) -> pd.DataFrame:
    """Adds the combined probabilities of classes, and makes the prediction that of the positive ones."""
    names = table["image_name"]
    probabilities = class_ensembling.read_probabilities(paths, names.tolist(), classes)
    if not classes.positive:
        _LOG.warning(class_ensembling.describe_unknown_positive(paths))
    combined = class_ensembling.combine(probabilities, classes, table["prediction"], blend.weights)
    return pd.concat([names, combined], axis=1)


def _write(
    path: str, table: pd.DataFrame, sources: Sequence[str], method: str, classes: class_set.ClassSet | None
) -> None:
    """Writes predictions, with a sidecar that records whether the sources used patient context."""
    used = prediction_sidecar.used_patient_context(sources)
    known = {prediction_sidecar.read_class_facts(source).get("target", "") for source in sources}
    target = known.pop() if len(known) == 1 else ""
    facts = classes.facts(target) if classes and classes.positive else {}
    prediction_files.write_predictions(
        path, table, patient_context=used, made_by="isic_tf.ensemble", method=method, **facts
    )


def read_scores(paths: Sequence[str], join: str) -> tuple[list[str], np.ndarray]:
    """Reads prediction files or submissions of several models, and logs which images are left out.

    Args:
        paths: CSV files, `[files]`.
        join: See `prediction_files.join_by_name`.

    Returns:
        Names in the order of the first file, `[n]`; and scores, float64 `[n, files]`, from 0 to 1.

    Raises:
        IsicError: A file is damaged, or the names differ.
    """
    tables = [prediction_files.read_prediction_file(path, submission=True) for path in paths]
    joined, notes = prediction_files.join_by_name(paths, tables, join)
    for note in notes:
        _LOG.warning(f"note: {note}")
    return joined[0]["image_name"].tolist(), np.stack([table["prediction"] for table in joined], axis=1)
