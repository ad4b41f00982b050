"""Options of the command that normalizes tables."""

import dataclasses

from tfrecord_tools import cli

POLICIES = ("melanoma", "malignant")
INDETERMINATE = ("drop", "benign", "malignant")
AUTO = "auto"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TablesConfig(cli.Config):
    """Options of `normalize_tables`: the tables, what counts as malignant, and what to keep.

    Examples:
        >>> TablesConfig(tables="truth.csv,metadata.csv", output="train.csv").tables
        ('truth.csv', 'metadata.csv')
    """

    tables: tuple[str, ...] = cli.option(
        path="read",
        help="CSV files, separated by commas: the tables of one data set, which are joined, or of several, whose rows "
        "are put together.",
    )
    output: str | None = cli.option(
        None,
        path="write",
        help="CSV file to write; the report goes beside it, to OUTPUT.report.txt and OUTPUT.report.json.",
    )
    format: tuple[str, ...] = cli.option(
        (AUTO,),
        path="read",
        help="auto: recognize each table by its columns; or the name of a published format, or a JSON or YAML file "
        "that describes a table of your own. Several are separated by commas.",
    )
    images: str | None = cli.option(
        None,
        path="read",
        help="Directories of image files, zip archives and HDF5 files, separated by commas: rows without an image are "
        "left out and listed in the report.",
    )
    policy: str = cli.option(
        "melanoma",
        choices=POLICIES,
        help="What target 1 stands for: melanoma alone, or any malignant diagnosis, such as basal cell carcinoma.",
    )
    indeterminate: str = cli.option(
        "drop",
        choices=INDETERMINATE,
        help="What becomes of indeterminate diagnoses, such as actinic keratosis: left out, or target 0 or 1.",
    )
    keep: tuple[str, ...] = cli.option(
        (), help="Further columns of the tables to keep under their own names, separated by commas."
    )
