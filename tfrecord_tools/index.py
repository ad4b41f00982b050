"""Writes the manifest and the index of an existing record set, in one pass and without decoding images.

python -m tfrecord_tools.index --records='kaggle/train*.tfrec' --csv=train.csv --folds=folds.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.building.build_config import IndexConfig

CONFIG = IndexConfig
WORK = "tfrecord_tools.building.record_set_indexer:index_record_set"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
