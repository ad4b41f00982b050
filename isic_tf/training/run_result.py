"""What a call of `train` made: the run directory, its metrics and its out-of-fold predictions."""

import dataclasses
from typing import Any

import pandas as pd

from isic_tf.artifacts.run import Run
from isic_tf.training.compile_check import CompileReport
from isic_tf.training.dry_run.training_estimate import TrainingEstimate
from tfrecord_tools import errors


@dataclasses.dataclass(frozen=True, repr=False)
class RunResult:
    """The result of `train`: a trained run, or after a dry run the estimate of what training would take.

    Metrics and predictions are those of all folds that are trained to the end in the run directory, including folds
    that earlier calls trained. They are read from the run directory at every access.

    Args:
        workdir: Path of the run directory.
        estimate: Time and memory of the training, see `TrainingEstimate`, after a dry run; else None. A dry run writes
            nothing, so that there are no run, folds or metrics then.
        compiled: What the compilers of TPUs say, after a dry run with `compile_for`; else empty.

    Examples:
        >>> result = train(TrainConfig(data_dir="records/384", workdir="runs/b0"))  # doctest: +SKIP
        >>> result  # doctest: +SKIP
        RunResult(workdir='runs/b0', folds=('fold0',), roc_auc=0.9312, roc_auc_interval=(0.9012, 0.9547))
        >>> result.out_of_fold.head(1)  # doctest: +SKIP
             image_name  prediction  fold  target
        0  ISIC_2637011    0.012345     0       0
    """

    workdir: str
    estimate: TrainingEstimate | None = None
    compiled: tuple[CompileReport, ...] = ()

    @property
    def run(self) -> Run:
        """The run directory, opened.

        Raises:
            IsicError: There is no run, as after a dry run.
        """
        if self._is_dry_run:
            raise errors.IsicError("a dry run writes no run directory; train with dry_run=False")
        return Run(self.workdir)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds that are trained to the end, such as `fold0` or `full`; none after a dry run."""
        return () if self._is_dry_run else self.run.folds

    @property
    def fold_metrics(self) -> dict[str, dict[str, Any]]:
        """Metrics of each fold in `folds`, see `isic_tf.metrics.summarize`, with `epochs` and `kept_epoch`."""
        return {} if self._is_dry_run else self.run.fold_metrics

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of the predictions of all folds together, or of the only fold.

        Raises:
            IsicError: No fold is trained to the end.
        """
        return self.run.metrics

    @property
    def roc_auc(self) -> float:
        """ROC AUC of the out-of-fold predictions of all folds together, or of the only fold, 0 to 1.

        Raises:
            IsicError: No fold with held-out images is trained to the end.
        """
        return self._evaluated_metrics()["auc"]

    @property
    def roc_auc_interval(self) -> tuple[float | None, float | None]:
        """95 % interval of `roc_auc` over resampled patients; both None where there are too few patients.

        Raises:
            IsicError: No fold with held-out images is trained to the end.
        """
        metrics = self._evaluated_metrics()
        return metrics["auc_low"], metrics["auc_high"]

    @property
    def out_of_fold(self) -> pd.DataFrame:
        """Predictions of the held-out images: `image_name`, `prediction` (float64), `fold` and `target` (int64).

        Raises:
            IsicError: No fold with held-out images is trained to the end.
        """
        return self.run.out_of_fold

    @property
    def _is_dry_run(self) -> bool:
        return bool(self.estimate or self.compiled)

    def _evaluated_metrics(self) -> dict[str, Any]:
        metrics = self.metrics
        if "auc" not in metrics:
            raise errors.IsicError(
                f"{self.workdir} has no ROC AUC, because --fold=full holds nothing out; train a fold with held-out "
                "images"
            )
        return metrics

    def __repr__(self) -> str:
        """Returns one line with the folds and the ROC AUC, or with the estimate of a dry run."""
        if self.estimate:
            return f"RunResult(workdir={self.workdir!r}, estimate={self.estimate!r})"
        if self.compiled:
            return f"RunResult(workdir={self.workdir!r}, compiled={self.compiled!r})"
        parts = [f"workdir={self.workdir!r}", f"folds={self.folds!r}"]
        if self.folds and "auc" in self.metrics:
            low, high = self.roc_auc_interval
            interval = "None" if low is None else f"({low:.4f}, {high:.4f})"
            parts += [f"roc_auc={self.roc_auc:.4f}", f"roc_auc_interval={interval}"]
        return f"RunResult({', '.join(parts)})"
