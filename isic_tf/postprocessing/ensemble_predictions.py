"""Combines prediction files; fitted ensembles are evaluated on patients that they were not fitted on."""

import dataclasses
import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from isic_tf.artifacts import prediction_files, prediction_sidecar, submission_format
from isic_tf.postprocessing import ensemble_evaluation, ensembling, out_of_fold
from tfrecord_tools import cli, errors
from tfrecord_tools.io import output_lock

_LOG = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EnsembleConfig(cli.Config):
    """Prediction files to combine, and the method of combination.

    Examples:
        >>> EnsembleConfig(predictions=["b4.csv", "b6.csv"], output="blend.csv", method="rank_mean").is_fitted
        False
        >>> EnsembleConfig(predictions=["b4.csv", "b6.csv"], output="blend.csv", method="stack")
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: --method=stack is fitted on out-of-fold files: give those of ...
    """

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
        help="Out-of-fold predictions (oof.csv) of the same models in the same order: blends are fitted and evaluated "
        "on them.",
    )
    labels: str | None = cli.option(
        None,
        help="With --oof: CSV file with image_name, patient_id and target. Without it, the folds of --oof are trusted "
        "to separate patients, and there are no intervals.",
    )
    method: str = cli.option(
        "mean",
        choices=(*ensembling.UNFITTED, *ensembling.FITTED),
        help="Blending method. weighted (without --weights), greedy and stack are fitted on --oof. rank_mean gives "
        "ranks, not probabilities.",
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

    @property
    def is_fitted(self) -> bool:
        """Whether the weights of the method are fitted on `oof`."""
        return self.method in ensembling.FITTED and not self.weights

    @property
    def num_models(self) -> int:
        """Number of models."""
        return len(self.predictions or self.oof or ())

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: Files are missing or do not correspond, or options contradict each other.
        """
        super().__post_init__()
        self._check_files()
        self._check_outputs()
        if self.weights and self.method != "weighted":
            raise errors.ConfigError(f"--weights needs --method=weighted, got --method={self.method}")
        if self.is_fitted and not self.oof:
            raise errors.ConfigError(
                f"--method={self.method} is fitted on out-of-fold files: give those of the same models, in the same "
                "order, as --oof"
            )

    def _check_files(self) -> None:
        if not self.predictions and not self.oof:
            raise errors.ConfigError("expected --predictions to combine, or --oof to evaluate an ensemble on, or both")
        for name, paths in (("predictions", self.predictions), ("oof", self.oof)):
            if paths and len(paths) < 2:
                raise errors.ConfigError(
                    f"expected at least two files in --{name}, separated by commas, got {paths[0]}"
                )
        if self.predictions and self.oof and len(self.predictions) != len(self.oof):
            raise errors.ConfigError(
                "expected --predictions and --oof of the same models in the same order, got "
                f"{len(self.predictions)} and {len(self.oof)} files"
            )

    def _check_outputs(self) -> None:
        if bool(self.predictions) != bool(self.output):
            raise errors.ConfigError("--predictions are written to --output: give both or neither")
        if self.sample_submission and not self.output:
            raise errors.ConfigError(
                "--sample_submission needs --predictions and --output: give all of them or neither"
            )
        if not self.oof and (self.labels or self.oof_output):
            raise errors.ConfigError("--labels and --oof_output need --oof: give it, or leave them out")


@dataclasses.dataclass(frozen=True)
class EnsembleResult:
    """A blend and what it predicts.

    Args:
        blend: The formula, with its weights.
        predictions: The table that was written to `output`: `image_name` and `prediction` (or `target`, with a sample
            submission), float64; None without `predictions`.
        out_of_fold: Cross-validated predictions: `image_name`, `prediction` (float64), `fold` and `target` (int64);
            None without `oof`.
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
    # Before any fit: all that can fail on names.
    if config.predictions:
        names, scores = read_scores(config.predictions, config.join)
        order = names
        if config.sample_submission:
            order = submission_format.match_sample(names, config.sample_submission)
    evaluation = None
    oof_table = None
    if config.oof:
        evaluation, oof_table = _evaluate(config, config.oof, blend, names)
        blend = evaluation.blend
    table = None
    if config.predictions and config.output:
        combined = pd.Series(ensembling.combine(scores, blend), names)
        column = "target" if config.sample_submission else "prediction"
        table = pd.DataFrame({"image_name": order, column: combined.loc[order].to_numpy()})
        _write(config.output, table, config.predictions, config.method)
    return EnsembleResult(blend, table, oof_table, evaluation.metrics if evaluation else None)


def _evaluate(
    config: EnsembleConfig, paths: Sequence[str], blend: ensembling.Blend, names: Sequence[str]
) -> tuple[ensemble_evaluation.EnsembleEvaluation, pd.DataFrame]:
    """Fits and evaluates a blend on out-of-fold files; returns its cross-validated predictions as a table too."""
    known = out_of_fold.read(paths, config.labels, config.join)
    evaluation = ensemble_evaluation.evaluate_ensemble(known, blend, config.is_fitted, paths)
    overlap = len(set(names) & set(known.names))
    if overlap and config.is_fitted:
        _LOG.warning(
            f"note: the ensemble was fitted on {overlap} images of --predictions; --oof_output writes cross-validated "
            "predictions of them"
        )
    columns = {"prediction": evaluation.predictions, "fold": known.folds, "target": known.targets}
    table = pd.DataFrame({"image_name": known.names, **columns})
    if config.oof_output:
        _write(config.oof_output, table, paths, config.method)
    return evaluation, table


def _write(path: str, table: pd.DataFrame, sources: Sequence[str], method: str) -> None:
    """Writes predictions, with a sidecar that records whether the sources used patient context."""
    used = prediction_sidecar.used_patient_context(sources)
    prediction_files.write_predictions(path, table, patient_context=used, made_by="isic_tf.ensemble", method=method)


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
