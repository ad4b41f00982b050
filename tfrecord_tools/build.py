"""Builds a TFRecord set from image files and a table, or from the records of another set.

python -m tfrecord_tools.build --csv=train.csv --images=jpeg --output=records/512 --image_size=512
python -m tfrecord_tools.build --csv=test.csv --images=dicom --output=records/512 --image_size=512 --split=test
python -m tfrecord_tools.build --records='records/1024/train*.tfrec' --output=records/256 --image_size=256
python -m tfrecord_tools.build --images=dicom --split=test --csv_from_dicom=test.csv
"""

from tfrecord_tools import cli
from tfrecord_tools.building import record_set_builder
from tfrecord_tools.building.build_config import BuildConfig

CONFIG = BuildConfig


def build(config: BuildConfig) -> None:
    """Builds a record set, or writes the table of DICOM tags that `--csv_from_dicom` asks for."""
    if config.csv_from_dicom:
        record_set_builder.write_dicom_tags(config)
    else:
        record_set_builder.build_record_set(config)


def main() -> None:
    """Runs the command."""
    cli.run(build, CONFIG, __doc__)


if __name__ == "__main__":
    main()
