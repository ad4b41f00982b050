"""Options of calibration and of submissions."""

import dataclasses

from isic_tf.postprocessing import challenge_formats, lesion_join
from tfrecord_tools import cli, errors
from tfrecord_tools.io import csv_tables

CALIBRATIONS = ("platt", "isotonic", "temperature")
KAGGLE = "isic2020"


@dataclasses.dataclass(frozen=True, kw_only=True)
class CalibrateConfig(cli.Config):
    """Options for calibrating a run.

    Examples:
        >>> CalibrateConfig(workdir="runs/b0", method="platt", prevalence=0.0176).prevalence
        0.0176
    """

    workdir: str = cli.option(path="read", help="Run directory; calibration.json is written there.")
    oof: str | None = cli.option(
        None,
        path="read",
        help="Out-of-fold predictions to fit on instead of the run's oof.csv: those of predict --out_of_fold, with the "
        "--tta that will be used.",
    )
    labels: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name, patient_id and target; without it, the folds of --oof are trusted to separate "
        "patients.",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="For a run of several classes: CSV file with the true ones, to calibrate the probability of each; where "
        "not given, the table that the run was trained with (of --target=diagnosis: --labels).",
    )
    method: str = cli.option(
        "all",
        choices=(*CALIBRATIONS, "all"),
        help="Calibration method. platt and temperature preserve ranks, hence the ROC AUC; isotonic creates ties; all: "
        "the method with the lowest log loss.",
    )
    prevalence: float | None = cli.option(
        None, help="Prevalence of malignant lesions where the run is used, if it differs from that of --oof."
    )

    def __post_init__(self) -> None:
        """Checks the prevalence.

        Raises:
            ConfigError: It is not between 0 and 1.
        """
        super().__post_init__()
        refuse_prevalence(self.prevalence)

    def check_inputs(self) -> None:
        """Checks that the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        csv_tables.check_paths(self.labels, self.table)


def refuse_prevalence(prevalence: float | None) -> None:
    """Checks a prevalence.

    Args:
        prevalence: Share of malignant images; None for none.

    Raises:
        ConfigError: It is not between 0 and 1.
    """
    if prevalence is not None and not 0 < prevalence < 1:
        raise errors.ConfigError(f"expected a prevalence between 0 and 1, such as 0.0176, got {prevalence}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ChallengeSubmissionConfig(cli.Config):
    """Options for writing and checking a submission.

    Examples:
        >>> config = ChallengeSubmissionConfig(format="isic2019", predictions="test.csv", output="submission.csv")
        >>> config.sample_submission is None
        True
    """

    format: str = cli.option(
        KAGGLE,
        choices=(KAGGLE, *challenge_formats.FORMATS),
        help="Challenge: isic2020 (the Kaggle competition: image_name, target), isic2018 (task 3), isic2019 (both by "
        "image) or milk10k (by lesion); the last three have a column for each class.",
    )
    submission: str | None = cli.option(None, path="read", help="CSV file to check.")
    sample_submission: str | None = cli.option(
        None,
        path="read",
        help="With isic2020: the competition's sample submission, names and their order. With another format: any CSV "
        "file that lists the images (or lesions) of the test set; the submission gets its order.",
    )
    predictions: str | None = cli.option(
        None,
        path="read",
        help="Prediction file with probability_CLASS columns to write as a submission; not with isic2020.",
    )
    output: str | None = cli.option(None, path="write", help="With --predictions: CSV file to write.")
    class_map: tuple[str, ...] = cli.option(
        (),
        help="With --predictions: COLUMN=CLASS pairs, separated by commas, for classes that are not named as in the "
        "challenge; several classes of a column are added up; COLUMN= fills a column with 0, =CLASS omits a class.",
    )
    table: str | None = cli.option(
        None, path="read", help="With milk10k: CSV file with image_name (or isic_id) and lesion_id of the images."
    )
    join: str = cli.option(
        "mean", choices=lesion_join.JOINS, help="With milk10k: how to join the probabilities of a lesion's images."
    )

    def __post_init__(self) -> None:
        """Checks that the options fit each other.

        Raises:
            ConfigError: They do not.
        """
        super().__post_init__()
        if bool(self.submission) == bool(self.predictions):
            received = "both" if self.submission else "neither"
            raise errors.ConfigError(
                f"expected either --submission to check, or --predictions to write as one, got {received}"
            )
        if bool(self.predictions) != bool(self.output):
            raise errors.ConfigError("--predictions are written to --output: give both or neither")
        if self.class_map and not self.predictions:
            raise errors.ConfigError("expected --class_map only with --predictions; omit it")
        if self.format == KAGGLE:
            self._check_kaggle()
        elif (self.format == "milk10k" and bool(self.predictions)) != bool(self.table):
            raise errors.ConfigError(
                "expected --table, which says the lesion_id of each image, with --format=milk10k and --predictions, "
                "and only there; add or omit it"
            )

    def _check_kaggle(self) -> None:
        if self.predictions or self.table:
            raise errors.ConfigError(
                f"expected --predictions and --table only with --format={'|'.join(challenge_formats.FORMATS)}; "
                "isic_tf.predict --sample_submission writes the submissions of isic2020"
            )
        if not self.sample_submission:
            raise errors.ConfigError(
                "expected --sample_submission with --format=isic2020; give the competition's sample_submission.csv"
            )

    def check_inputs(self) -> None:
        """Checks that the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        csv_tables.check_paths(self.submission, self.sample_submission, self.predictions, self.table)
