"""Splits a table into folds without leaks, balanced by malignancy and images per patient; or audits folds.

python -m tfrecord_tools.folds --csv=train.csv --output=folds.csv --num_folds=5
python -m tfrecord_tools.folds --csv=train.csv --audit=folds.csv --duplicates=ISIC_2020_Training_Duplicates.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.splits.config import FoldsConfig

CONFIG = FoldsConfig
WORK = "tfrecord_tools.splits.fold_table:make_folds"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
