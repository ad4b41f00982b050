"""Writes the manifest and the index of an existing record set, in one pass and without decoding images.

python -m tfrecord_tools.index --records='kaggle/train*.tfrec' --csv=train.csv --folds=folds.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.building.record_set_indexer import IndexConfig, index_record_set

CONFIG = IndexConfig


def main() -> None:
    """Runs the command."""
    cli.run(index_record_set, CONFIG, __doc__)


if __name__ == "__main__":
    main()
