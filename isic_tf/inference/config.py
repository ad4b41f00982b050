"""Options of prediction."""

import dataclasses

from isic_tf.artifacts import person_numbers, run_directory
from isic_tf.distribution.config import StrategyConfig
from isic_tf.patient_context.config import MODEL_FILES
from isic_tf.postprocessing.config import refuse_prevalence
from tfrecord_tools import cli, errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.io import csv_tables, record_index

TTA_POLICIES = ("dihedral", "training")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictConfig(StrategyConfig, limits.ImageFileLimits):
    """Options of `predict`: the trained folds of a run, and how they predict images.

    Examples:
        >>> config = PredictConfig(tta=8)
        >>> config.tta_policy
        'dihedral'
        >>> PredictConfig(batch_size=0)
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: expected batch_size of at least 1, got 0
    """

    csv: str | None = cli.option(
        None,
        path="read",
        help="With --images: CSV file with image_name, the columns of the run's --metadata, and optionally patient_id.",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and the numeric columns that the run, or the model of --context, was trained "
        "with (--metadata, --columns), for the images to predict; it may list others.",
    )
    allow_missing: bool = cli.option(
        False, help="With --csv: go on where rows of the table have no image file, or images no row."
    )
    on_error: str = cli.option(
        "stop",
        choices=("stop", "skip"),
        help="How to handle image files that cannot be decoded: stop with an error, or skip them and list them in "
        "OUTPUT.skipped.csv.",
    )
    fold: str = cli.option("all", help="Number of a fold, full, or all: the average of all trained folds.")
    out_of_fold: bool = cli.option(
        False,
        help="Predict each image only with folds that did not train on it or its patient; adds the columns fold and "
        "target.",
    )
    patients_are: str | None = cli.option(
        None,
        choices=person_numbers.CHOICES,
        help="Where these images and those trained on number their patients: whether equal numbers are the same people "
        "or different ones. Only needed where the sets cannot tell.",
    )
    tta: int = cli.option(
        1,
        lower=1,
        upper=1000,
        help="Test-time augmentation: number of versions of each image whose probabilities are averaged.",
    )
    tta_policy: str = cli.option(
        "dihedral",
        choices=TTA_POLICIES,
        help="Versions: dihedral (the 8 symmetries of a square), or training (samples of the augmentation policy of "
        "the run).",
    )
    embeddings: str | None = cli.option(
        None, path="write", help="NumPy archive (.npz) to write as well: the pooled features of each fold."
    )
    calibrated: bool = cli.option(False, help="Apply the run's calibration.json, see isic_tf.calibrate.")
    prevalence: float | None = cli.option(
        None, help="With --calibrated: prevalence of malignant lesions where the predictions are used, such as 0.0176."
    )
    context: str | None = cli.option(
        None,
        path="read",
        files=MODEL_FILES,
        help="Directory of a patient-context model fitted by isic_tf.context: corrects each image by the patient's "
        "other images, and adds the column stage_one.",
    )
    seed: int = cli.option(0, lower=0, upper=2**31 - 1, help="Seed of the samples of --tta_policy=training.")
    batch_size: int = cli.option(32, lower=1, help="Images per step on one replica.")
    threads: int = cli.option(
        0, lower=0, upper=1024, help="Number of parallel image decoders; 0 uses all available cores."
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictFilesConfig(PredictConfig):
    """Options of `predict`, and the files that are read and written.

    Examples:
        >>> config = PredictFilesConfig(workdir="runs/b0", images="dicom", output="scores.csv", tta=8)
        >>> config.out_of_fold
        False
    """

    workdir: str = cli.option(
        path="read",
        files=run_directory.OWN_FILES,
        help="Run directory with at least one trained fold. The predictions of all its folds, or those of --fold, are "
        "averaged.",
    )
    records: str | None = cli.option(
        None, path="read", help="Glob pattern of shards, in quotes; separate several with commas."
    )
    images: str | None = cli.option(
        None,
        path="read",
        help="Image files (JPEG, PNG, BMP, TIFF, WebP or DICOM), directories of them, zip archives and HDF5 files, "
        "separated by commas, in place of --records. Subdirectories are searched, except one named train.",
    )
    output: str = cli.option(
        path="write",
        help="CSV file to write: image_name, prediction, and of runs with several classes probability_<class> "
        "for each.",
    )
    sample_submission: str | None = cli.option(
        None, path="read", help="Write a submission instead: image_name, target, in the order of this file."
    )

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: They do not.
        """
        super().__post_init__()
        if bool(self.records) == bool(self.images):
            received = "both" if self.records else "neither"
            raise errors.ConfigError(f"expected either --records or --images, got {received}")
        if self.csv and self.records:
            raise errors.ConfigError(
                "expected --csv only with --images: records hold the metadata that the network uses; leave out --csv"
            )
        if self.on_error == "skip" and (self.records or self.sample_submission):
            raise errors.ConfigError(
                "expected --on_error=skip only with --images and without --sample_submission: damaged records are "
                "removed by tfrecord_tools.verify --quarantine, and a submission needs all images"
            )
        if self.out_of_fold and self.fold != "all":
            raise errors.ConfigError(
                f"expected --fold=all with --out_of_fold, which chooses the folds of each image, got {self.fold}; "
                "leave out one of them"
            )
        if self.prevalence is not None and not self.calibrated:
            raise errors.ConfigError(
                "expected --calibrated with --prevalence: only calibrated probabilities are corrected for a prevalence"
            )
        refuse_prevalence(self.prevalence)
        if self.context and self.calibrated:
            raise errors.ConfigError(
                "expected --context without --calibrated: the patient-context model returns probabilities; leave out "
                "--calibrated"
            )
        if self.context and self.out_of_fold:
            raise errors.ConfigError(
                "expected --context without --out_of_fold: use isic_tf.context --oof for out-of-fold predictions with "
                "patient context"
            )

    def check_inputs(self) -> None:
        """Checks that the run, the shards and the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        run_directory.check_trained(self.workdir)
        if self.records:
            record_index.match_shards(self.records)
        csv_tables.check_paths(self.csv, self.table)
