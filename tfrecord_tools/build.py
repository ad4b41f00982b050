"""Builds a TFRecord set from image files and a table, or from the records of another set.

python -m tfrecord_tools.build --csv=train.csv --images=jpeg --output=records/512 --image_size=512
python -m tfrecord_tools.build --csv=test.csv --images=dicom --output=records/512 --image_size=512 --split=test
python -m tfrecord_tools.build --records='records/1024/train*.tfrec' --output=records/256 --image_size=256
python -m tfrecord_tools.build --images=dicom --split=test --csv_from_dicom=test.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.building.record_set_builder import BuildConfig, build_record_set

CONFIG = BuildConfig


def main():
    """Runs the command."""
    cli.run(build_record_set, CONFIG, __doc__)


if __name__ == "__main__":
    main()
