"""Turns published tables of dermoscopic images, or your own, into a training table, and reports what it did.

python -m tfrecord_tools.tables --tables=ISIC_2019_Training_GroundTruth.csv,ISIC_2019_Training_Metadata.csv \
--output=train.csv
python -m tfrecord_tools.tables --tables=HAM10000_metadata.csv --policy=malignant --indeterminate=benign \
--output=ham.csv --images=images
python -m tfrecord_tools.tables --tables=clinic.csv --format=clinic.yaml --keep=diameter_mm --output=clinic_train.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.table_formats.config import TablesConfig

CONFIG = TablesConfig
WORK = "tfrecord_tools.table_formats.table_files:normalize_tables"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
