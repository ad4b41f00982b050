"""Builds a TFRecord set from image files and a table, or from the records of another set.

python -m tfrecord_tools.build --csv=train.csv --images=jpeg --output=records/512 --image_size=512
python -m tfrecord_tools.build --csv=test.csv --images=dicom --output=records/512 --image_size=512 --split=test
python -m tfrecord_tools.build --records='records/1024/train*.tfrec' --output=records/256 --image_size=256
python -m tfrecord_tools.build --images=dicom --split=test --csv_from_dicom=test.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.building.build_config import BuildConfig

CONFIG = BuildConfig
WORK = "tfrecord_tools.building.record_set_builder:build"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
