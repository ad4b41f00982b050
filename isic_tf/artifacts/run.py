"""A run directory as an object: its flags, folds, metrics and out-of-fold predictions."""

import dataclasses
import os
from typing import Any

import pandas as pd

from isic_tf.artifacts import class_columns, run_directory
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, filesystem


@dataclasses.dataclass(frozen=True)
class Run:
    """An opened run directory. Functions that take the path of a run directory also take a `Run`.

    Files are read at every access, so that a run can be watched while it is trained.

    Args:
        workdir: Path of the run directory.

    Raises:
        IsicError: The directory does not hold a run.

    Examples:
        >>> run = Run("runs/b0")  # doctest: +SKIP
        >>> run.folds  # doctest: +SKIP
        ('fold0', 'fold1')
        >>> run.metrics["auc"]  # doctest: +SKIP
        0.9312
        >>> run.out_of_fold.head(1)  # doctest: +SKIP
             image_name  prediction  fold  target
        0  ISIC_2637011    0.012345     0       0
    """

    workdir: str

    def __post_init__(self) -> None:
        """Checks that the directory holds a run."""
        object.__setattr__(self, "workdir", os.fspath(self.workdir))
        run_directory.read_flags(self.workdir)

    def __fspath__(self) -> str:
        """Returns the path of the run directory."""
        return self.workdir

    @property
    def flags(self) -> dict[str, str]:
        """Flags of the run, and facts about its data, as text."""
        return run_directory.read_flags(self.workdir)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds that are trained to the end, such as `fold0` or `full`."""
        paths = run_directory.fold_files(self.workdir, run_directory.METRICS_FILE)
        return tuple(os.path.basename(os.path.dirname(path)) for path in paths)

    @property
    def fold_metrics(self) -> dict[str, dict[str, Any]]:
        """Metrics of each fold that is trained to the end: see `summaries.summarize`.

        Raises:
            CorruptRecordError: A file of metrics is damaged.
        """
        return {fold: self._read_metrics(fold) for fold in self.folds}

    @property
    def metrics(self) -> dict[str, Any]:
        """Metrics of all folds together, or of the only one.

        Raises:
            IsicError: No fold is trained to the end.
            CorruptRecordError: A file of metrics is damaged.
        """
        if filesystem.exists(os.path.join(self.workdir, run_directory.METRICS_FILE)):
            return self._read_metrics()
        folds = self.folds
        if not folds:
            raise errors.IsicError(f"no fold is trained to the end in {self.workdir}; run isic_tf.train")
        return self._read_metrics(folds[0])

    @property
    def out_of_fold(self) -> pd.DataFrame:
        """Out-of-fold predictions: `image_name`, `prediction` (float64), `fold` (int64), `target` (int64, 0 or 1).

        Where there are classes also `probability_<class>` for each (float64); the target says whether it is positive.

        Raises:
            IsicError: No fold with held-out images is trained to the end.
        """
        path = os.path.join(self.workdir, run_directory.OOF_FILE)
        if not filesystem.exists(path):
            raise errors.IsicError(
                f"no out-of-fold predictions in {self.workdir}; train a fold with held-out images (isic_tf.train)"
            )
        table = csv_tables.read_table(path, ("image_name", "prediction", "fold", "target"))
        probabilities = class_columns.list_columns(class_columns.list_classes(table))
        kinds = {"prediction": "float64", "fold": "int64", "target": "int64"}
        return table.astype({**kinds, **dict.fromkeys(probabilities, "float64")})

    def read_history(self, fold: str) -> pd.DataFrame:
        """Reads the training history of a fold.

        Args:
            fold: Name of the fold, such as `fold0`.

        Returns:
            DataFrame, one row per epoch: `epoch` (int64), `loss`, `auc`, `learning_rate` (float64) and further figures;
            empty where there is no history.
        """
        return pd.DataFrame(run_directory.read_history(os.path.join(self.workdir, fold)))

    def _read_metrics(self, fold: str = "") -> dict[str, Any]:
        return run_directory.read_metrics(os.path.join(self.workdir, fold))
