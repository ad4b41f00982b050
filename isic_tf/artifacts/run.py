"""A run directory as an object: its options, folds, metrics and out-of-fold predictions."""

import dataclasses
import json
import os

import pandas as pd

from isic_tf.artifacts import run_directory
from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, filesystem


@dataclasses.dataclass(frozen=True)
class Run:
    """A run directory, opened. Functions that take the path of a run directory take a `Run` too.

    Args:
        workdir: Path of the run directory.

    Raises:
        IsicError: The directory does not hold a run.

    Example:
        >>> run = Run("runs/b0")  # doctest: +SKIP
        >>> run.folds  # doctest: +SKIP
        ('fold0', 'fold1')
        >>> run.metrics["auc"]  # doctest: +SKIP
        0.9312
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
        """The options of the run, and what is known of its data, as text."""
        return run_directory.read_flags(self.workdir)

    @property
    def folds(self) -> tuple[str, ...]:
        """Names of the folds that are trained to the end, such as `fold0` or `full`."""
        paths = run_directory.fold_files(self.workdir, run_directory.METRICS_FILE)
        return tuple(os.path.basename(os.path.dirname(path)) for path in paths)

    @property
    def fold_metrics(self) -> dict[str, dict[str, float]]:
        """The metrics of each fold that is trained to the end: see `summaries.summarize`."""
        return {fold: self._read_json(fold, run_directory.METRICS_FILE) for fold in self.folds}

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of all folds together, or of the only one.

        Raises:
            IsicError: No fold is trained to the end.
        """
        if filesystem.exists(os.path.join(self.workdir, run_directory.METRICS_FILE)):
            return self._read_json(run_directory.METRICS_FILE)
        if not self.folds:
            raise errors.IsicError(f"{self.workdir} has no fold that is trained to the end; run isic_tf.train")
        return self.fold_metrics[self.folds[0]]

    @property
    def out_of_fold(self) -> pd.DataFrame:
        """Out-of-fold predictions: `image_name`, `prediction`, `fold`, `target`.

        Raises:
            IsicError: No fold is trained to the end.
        """
        path = os.path.join(self.workdir, "oof.csv")
        table = csv_tables.read_table(path, ("image_name", "prediction", "fold", "target"))
        return table.astype({"prediction": "float64", "fold": "int64", "target": "int64"})

    def read_history(self, fold: str) -> pd.DataFrame:
        """Reads the training history of a fold.

        Args:
            fold: Name of the fold, such as `fold0`.

        Returns:
            DataFrame, one row per epoch: `epoch`, `loss`, `auc`, `learning_rate` and more.
        """
        return pd.DataFrame(run_directory.read_history(os.path.join(self.workdir, fold)))

    def _read_json(self, *parts: str) -> dict[str, float]:
        return json.loads(filesystem.read(os.path.join(self.workdir, *parts)))
