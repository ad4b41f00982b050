"""Options of `find_duplicates`."""

import dataclasses
import os

from tfrecord_tools import cli
from tfrecord_tools.imaging import limits


@dataclasses.dataclass(frozen=True, kw_only=True)
class DuplicatesConfig(limits.ImageFileLimits):
    """Options for searching near-duplicate images.

    Examples:
        >>> DuplicatesConfig(images="jpeg", output="pairs.csv", workers=2).max_distance
        0.4
    """

    images: str | None = cli.option(
        None,
        path="read",
        help="Directories of image files, zip archives and HDF5 files, separated by commas. Subdirectories are "
        "searched, except one named test.",
    )
    records: str | None = cli.option(None, path="read", help="Glob pattern of shards, in place of --images.")
    output: str = cli.option(path="write", help="CSV file to write: image_name_1, image_name_2, distance.")
    against: str | None = cli.option(
        None,
        path="read",
        help="Directory or glob pattern of another set: find pairs between the two sets, none within either.",
    )
    max_distance: float = cli.option(
        0.4,
        lower=0.0,
        upper=0.99,
        help=(
            "Largest distance of a pair: up to 0.2 mostly the same photograph, up to 0.6 the same lesion, "
            "above that coincidence."
        ),
    )
    workers: int = cli.option(os.cpu_count() or 1, lower=1, help="Number of threads.")
