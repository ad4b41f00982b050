"""Options of `make_folds`."""

import dataclasses

from tfrecord_tools import cli

# Each fold is made of some of Deotte's 15 shards: his own folds, and those of the competition's winners.
PRESETS = {
    "deotte15": tuple((shard,) for shard in range(15)),
    "winners5": ((0, 9, 11), (5, 8, 13), (1, 2, 14), (4, 7, 10), (3, 6, 12)),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FoldsConfig(cli.Config):
    """Options of `make_folds`: how to assign folds, or which folds to audit.

    Examples:
        >>> FoldsConfig(csv="train.csv", output="folds.csv", num_folds=5).num_folds
        5
    """

    csv: str = cli.option(
        path="read",
        help="CSV file with image_name, patient_id or lesion_id or both, and, to balance the prevalence, target.",
    )
    output: str | None = cli.option(None, path="write", help="CSV file to write: image_name, fold (-1: no fold).")
    num_folds: int | None = cli.option(None, lower=2, help="Number of folds; 5 if not given.")
    seed: int | None = cli.option(
        None, lower=0, help="Random seed; 0 if not given. Every seed gives equally good folds."
    )
    duplicates: str | None = cli.option(
        None,
        path="read",
        help="CSV files, separated by commas, with image_name_1 and image_name_2, such as those of "
        "tfrecord_tools.duplicates: pairs that must share a fold.",
    )
    preset: str | None = cli.option(
        None,
        choices=tuple(PRESETS),
        help="Published folds, from the column tfrecord of Deotte's tables.",
    )
    audit: str | None = cli.option(
        None,
        path="read",
        help="CSV file with image_name and fold (a fold table or an index) to audit; exit code 1 if it leaks.",
    )
