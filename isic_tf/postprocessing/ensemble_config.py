"""The options of an ensemble: prediction files to combine, and how."""

import dataclasses

from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables

UNFITTED = ("mean", "rank_mean", "logit_mean", "geometric")
FITTED = ("weighted", "greedy", "stack")


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
        None, path="read", help="CSV files with image_name and prediction, or submissions, one per model."
    )
    output: str | None = cli.option(
        None, path="write", help="CSV file to write: image_name, prediction, in the order of the first file."
    )
    sample_submission: str | None = cli.option(
        None, path="read", help="Write a submission instead: image_name, target, in the order of this file."
    )
    oof: tuple[str, ...] | None = cli.option(
        None,
        path="read",
        help="Out-of-fold predictions (oof.csv) of the same models in the same order: blends are fitted and evaluated "
        "on them.",
    )
    labels: str | None = cli.option(
        None,
        path="read",
        help="With --oof: CSV file with image_name, patient_id and target. Without it, the folds of --oof are trusted "
        "to separate patients, and there are no intervals.",
    )
    method: str = cli.option(
        "mean",
        choices=(*UNFITTED, *FITTED),
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
    classes: str = cli.option(
        "keep",
        choices=("keep", "drop"),
        help="Files with probabilities of several classes (probability_CLASS): average these too, or combine only the "
        "single prediction.",
    )
    oof_output: str | None = cli.option(
        None, path="write", help="CSV file to write the cross-validated predictions of the blend on --oof to."
    )

    @property
    def is_fitted(self) -> bool:
        """Whether the weights of the method are fitted on `oof`."""
        return self.method in FITTED and not self.weights

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

    def check_inputs(self) -> None:
        """Checks that the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        csv_tables.check_paths(*(self.predictions or ()), *(self.oof or ()), self.labels, self.sample_submission)
