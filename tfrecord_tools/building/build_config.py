"""Options of a build and of indexing, and the checks that they do not contradict each other."""

import dataclasses
import os

from tfrecord_tools import cli, errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.io import filesystem

RESIZE_MODES = ("stretch", "crop", "pad")
COLOR_CONSTANCIES = ("none", "shades_of_gray")


@dataclasses.dataclass(frozen=True, kw_only=True)
class BuildConfig(limits.ImageFileLimits):
    """Options of `build_record_set`: what a record set is built from, and how.

    Examples:
        >>> BuildConfig(csv="train.csv", images="jpeg", output="records/384", image_size=384).num_folds
        5
    """

    csv: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name, patient_id, target and, where known, sex, age_approx, "
        "anatom_site_general_challenge, diagnosis.",
    )
    images: str | None = cli.option(
        None,
        path="read",
        help="Image files (JPEG, PNG, BMP, TIFF, WebP or DICOM), directories of them, zip archives and HDF5 files, "
        "separated by commas. Subdirectories are searched, except one named like the other split.",
    )
    records: str | None = cli.option(
        None,
        path="read",
        help="Glob pattern of an existing record set to rebuild, in place of --images; --csv is then optional.",
    )
    output: str | None = cli.option(
        None, path="directory", help="Directory of the new record set; required except with --csv_from_dicom."
    )
    split: str = cli.option(
        "train", choices=("train", "test"), help="train: records have labels and folds; test: neither."
    )
    image_size: int = cli.option(1024, lower=8, upper=8192, help="Side of the square images, in pixels.")
    resize: str = cli.option(
        "stretch",
        choices=RESIZE_MODES,
        help="stretch: ignore aspect ratio; crop: center square; pad: letterbox in black.",
    )
    trim_border: bool = cli.option(False, help="Crop black borders, rectangular or circular.")
    color_constancy: str = cli.option("none", choices=COLOR_CONSTANCIES, help="Color constancy correction.")
    quality: int = cli.option(95, lower=1, upper=100, help="JPEG quality.")
    num_shards: int = cli.option(
        15, lower=1, upper=10_000, help="Maximum number of shards, divided evenly between the folds."
    )
    num_folds: int = cli.option(5, lower=2, help="Number of folds.")
    folds: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and fold to use instead of --num_folds; the index of a record set also works.",
    )
    missing_images: str = cli.option(
        "stop",
        choices=("stop", "skip"),
        help="With --images: how to handle rows of --csv that have no image file: stop with their number, or skip them "
        "and list them in the manifest.",
    )
    on_error: str = cli.option(
        "stop",
        choices=("stop", "skip"),
        help="How to handle unreadable images: stop with an error, or skip and list them.",
    )
    workers: int = cli.option(
        os.cpu_count() or 1, lower=1, help="Number of processes; each writes one shard at a time."
    )
    runner: str = cli.option(
        "local", choices=("local", "beam"), help="local: processes on this machine; beam: Apache Beam."
    )
    beam_options: str = cli.option("", help="Options of Apache Beam, such as '--runner=DataflowRunner --project=...'.")
    csv_from_dicom: str | None = cli.option(
        None, path="write", help="Write a table of the DICOM tags of --images to this CSV file, and stop."
    )
    pseudonyms: str | None = cli.option(
        None,
        path="read",
        help="With --csv_from_dicom: file with a secret key of at least 32 bytes. Patients and lesions are replaced by "
        "codes (HMAC-SHA256), the same for the same key; the key is not written anywhere.",
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class IndexConfig(cli.Config):
    """Options of `index_record_set`: which shards to index, and with which table and folds.

    Examples:
        >>> IndexConfig(records="kaggle/train*.tfrec", csv="train.csv", folds="folds.csv").records
        'kaggle/train*.tfrec'
    """

    records: str = cli.option(
        path="read",
        help="Glob pattern of the shards, in quotes, all in one directory; files named test... are the test split.",
    )
    csv: str | None = cli.option(
        None, path="read", help="CSV file with image_name, patient_id and target, joined by name."
    )
    folds: str | None = cli.option(
        None, path="read", help="CSV file with image_name and fold, as written by tfrecord_tools.folds."
    )
    output: str | None = cli.option(
        None,
        path="directory",
        help="Directory for manifest, index and links to the shards, if their own directory is read-only.",
    )


def check_options(config: BuildConfig) -> None:
    """Checks that the options of a build do not contradict each other.

    Args:
        config: `BuildConfig`.

    Raises:
        ConfigError: Options contradict each other, or a required one is missing.

    Examples:
        >>> check_options(BuildConfig(csv="train.csv", images="jpeg"))
        Traceback (most recent call last):
        ...
        tfrecord_tools.errors.ConfigError: --output is required: the directory of the new record set
    """
    if config.folds and config.split != "train":
        raise errors.ConfigError(f"--folds needs --split=train, got --split={config.split}; omit --folds")
    if bool(config.images) == bool(config.records):
        got = "both" if config.images else "neither"
        raise errors.ConfigError(f"expected either --images or --records, got {got}; give one of them")
    if config.csv_from_dicom:
        if config.records or config.csv:
            raise errors.ConfigError("--csv_from_dicom reads only --images; omit --records and --csv")
        return
    if config.pseudonyms:
        raise errors.ConfigError(
            "--pseudonyms needs --csv_from_dicom, the table that gets the codes; with --csv, put codes into the table"
        )
    if not config.output:
        raise errors.ConfigError("--output is required: the directory of the new record set")
    if config.images and not config.csv:
        raise errors.ConfigError("--images needs --csv, the table that lists the images; give both")
    if config.records:
        sources = {os.path.abspath(os.path.dirname(pattern)) for pattern in filesystem.split_list(config.records)}
        if os.path.abspath(config.output) in sources:
            raise errors.ConfigError(
                f"--output must not be the directory of --records, got {config.output} for both; choose another "
                "directory"
            )
