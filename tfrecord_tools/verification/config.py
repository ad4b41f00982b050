"""Options of `verify_record_set`."""

import dataclasses
import os

from tfrecord_tools import cli
from tfrecord_tools.imaging import limits


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerifyConfig(limits.ImageLimits):
    """Options of `verify_record_set`: which record sets to verify, and how.

    Examples:
        >>> VerifyConfig(records="records/384/*.tfrec", workers=2).decode
        True
    """

    records: str = cli.option(path="read", help="Glob pattern of the shards, in quotes, of one record set or several.")
    duplicates: str | None = cli.option(
        None,
        path="read",
        help="CSV files, separated by commas, with image_name_1 and image_name_2: pairs that must share a fold.",
    )
    decode: bool = cli.option(True, help="Decode the images too; without, verification runs at reading speed.")
    quarantine: str | None = cli.option(
        None, path="directory", help="New directory for the intact records, and a list of the damaged ones."
    )
    workers: int = cli.option(
        os.cpu_count() or 1, lower=1, help="Number of shards verified in parallel; with fewer shards, of images."
    )
