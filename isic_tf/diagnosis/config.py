"""Options of judging photographs by a run, and of diagnose."""

import dataclasses
import os
import typing

from isic_tf.artifacts import run_directory
from isic_tf.patient_context.config import MODEL_FILES
from isic_tf.postprocessing.config import refuse_prevalence
from tfrecord_tools import cli, errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.io import csv_tables, record_index

KINDS = ("sensitivity", "specificity")
NOTICE = "Not a medical device: for research only, not for diagnosis or treatment."


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeConfig(limits.ImageFileLimits):
    """The run that judges photographs, and how.

    Examples:
        >>> JudgeConfig(workdir="runs/lite0", operate_at="specificity:0.8").operating_point
        ('specificity', 0.8)
    """

    workdir: str = cli.option(
        path="read", files=run_directory.OWN_FILES, help="Run directory with at least one trained fold."
    )
    context: str | None = cli.option(
        None,
        path="read",
        files=MODEL_FILES,
        help="Directory of a patient-context model fitted by isic_tf.context: judges a patient's images together.",
    )
    prevalence: float | None = cli.option(
        None,
        help="Prevalence of malignant lesions where the images come from, such as 0.0176; where not given, that of the "
        "run's calibration.",
    )
    operate_at: str = cli.option(
        "sensitivity:0.9",
        help="Operating point, chosen on the run's out-of-fold predictions: sensitivity:LEVEL or specificity:LEVEL.",
    )
    tta: int = cli.option(
        1, lower=1, upper=8, help="Versions of each image (flips and turns) whose probabilities are averaged."
    )

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ConfigError: An option is out of range.
        """
        super().__post_init__()
        parse_operating_point(self.operate_at)
        refuse_prevalence(self.prevalence)

    @property
    def operating_point(self) -> tuple[str, float]:
        """See `parse_operating_point`."""
        return parse_operating_point(self.operate_at)

    def check_inputs(self) -> None:
        """Checks that the run exists; see `Config.check_inputs`."""
        super().check_inputs()
        run_directory.check_trained(self.workdir)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiagnoseConfig(JudgeConfig):
    """Options of `diagnose`: the photographs, the run that judges them, and what is written.

    Examples:
        >>> config = DiagnoseConfig(workdir="runs/lite0", images=("photo.jpg",), operate_at="specificity:0.8")
        >>> config.operating_point
        ('specificity', 0.8)
        >>> DiagnoseConfig(workdir="runs/lite0", images=("photo.jpg",), operate_at="0.9")
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: expected --operate_at=sensitivity:LEVEL or specificity:LEVEL with a level \
above 0 and below 1, such as sensitivity:0.9, got '0.9'
    """

    POSITIONAL: typing.ClassVar[str] = "images"

    images: tuple[str, ...] = cli.option(
        path="read",
        help="Image files (JPEG, PNG, BMP, TIFF, WebP or DICOM), or directories of them. On the command line, their "
        "names alone suffice.",
    )
    csv: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and the columns of the run's --metadata, and optionally patient_id.",
    )
    table: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and the numeric columns that the run or the model of --context uses.",
    )
    patient: bool = cli.option(
        False, help="With --context, or a run with patient context: all images are of one patient."
    )
    show_neighbors: bool = cli.option(
        False,
        help="Show the five most similar training images of --records in the page, the file and the log. These are "
        "pictures of patients with their names and labels: pass them on only to people who may see them.",
    )
    records: str | None = cli.option(
        None,
        path="read",
        help="With --show_neighbors: glob pattern of the shards that the run was trained on, in quotes. Their features "
        "are computed once, and kept in the run.",
    )
    report: str | None = cli.option(
        None, path="write", help="HTML page to write: images, maps, probabilities and warnings."
    )
    json: str | None = cli.option(None, path="write", help="JSON file to write, for programs.")

    def __post_init__(self) -> None:
        """Checks the options.

        Raises:
            ConfigError: An option is out of range, or options contradict each other.
        """
        super().__post_init__()
        if not self.images:
            raise errors.ConfigError("expected image files or directories, got none; name at least one")
        if self.show_neighbors != bool(self.records):
            given, missing = ("--records", "--show_neighbors") if self.records else ("--show_neighbors", "--records")
            raise errors.ConfigError(f"expected --show_neighbors and --records together, got {given}; add {missing}")

    def check_inputs(self) -> None:
        """Checks that the run and the tables exist; see `Config.check_inputs`."""
        super().check_inputs()
        csv_tables.check_paths(self.csv, self.table)
        if self.records:
            record_index.match_shards(self.records)
        for path in (self.report, self.json):
            if path and os.path.isdir(path):
                raise errors.ConfigError(f"expected a file name as --report and --json, got the directory {path}")


def parse_operating_point(text: str) -> tuple[str, float]:
    """Reads an operating point.

    Args:
        text: Such as `sensitivity:0.9`.

    Returns:
        The rate that is held, `sensitivity` or `specificity`, and its level, between 0 and 1.

    Raises:
        ConfigError: The text is something else.

    Examples:
        >>> parse_operating_point("specificity:0.8")
        ('specificity', 0.8)
    """
    kind, _, number = text.partition(":")
    try:
        level = float(number)
    except ValueError:
        level = 0.0
    if kind not in KINDS or not 0 < level < 1:
        raise errors.ConfigError(
            "expected --operate_at=sensitivity:LEVEL or specificity:LEVEL with a level above 0 and below 1, such as "
            f"sensitivity:0.9, got {text!r}"
        )
    return kind, level
