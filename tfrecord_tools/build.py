"""Builds a TFRecord set from image files and a table, or from the records of another set.

python -m tfrecord_tools.build --csv=train.csv --images=jpeg --output=records/512 --image_size=512
python -m tfrecord_tools.build --csv=test.csv --images=dicom --output=records/512 --image_size=512 --split=test
python -m tfrecord_tools.build --records='records/1024/train*.tfrec' --output=records/256 --image_size=256
python -m tfrecord_tools.build --images=dicom --split=test --csv_from_dicom=test.csv
"""

import os

from absl import flags

from tfrecord_tools import cli
from tfrecord_tools.building import record_set_builder
from tfrecord_tools.imaging import preprocessing


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Table with image_name, patient_id, target and the competition's other columns.")
    flags.DEFINE_string(
        "images", None, "Folder of JPEG, PNG or DICOM files, or of a folder of them named like --split."
    )
    flags.DEFINE_string("records", None, "Glob of a record set to rebuild, in place of --images; --csv is optional.")
    flags.DEFINE_string("output", None, "Folder of the record set.")
    flags.DEFINE_enum("split", "train", ["train", "test"], "A train split has labels and folds, a test split neither.")
    flags.DEFINE_integer("image_size", 1024, "Side of the square images, pixels.", 8, 8192)
    flags.DEFINE_enum(
        "resize", "stretch", preprocessing.RESIZE_MODES, "The whole image, its centre square, or black at the sides."
    )
    flags.DEFINE_boolean("trim_border", False, "Cut off a black frame or what a black circle leaves dark.")
    flags.DEFINE_enum(
        "color_constancy", "none", preprocessing.COLOR_CONSTANCIES, "Correction of the colour of the light."
    )
    flags.DEFINE_integer("quality", 95, "JPEG quality.", 1, 100)
    flags.DEFINE_integer("num_shards", 15, "Number of shards at the most, split evenly between the folds.", 1, 100)
    flags.DEFINE_integer("num_folds", 5, "Number of folds.", lower_bound=2)
    flags.DEFINE_string("folds", None, "CSV with image_name and fold to use instead of --num_folds; an index will do.")
    flags.DEFINE_enum("on_error", "stop", ["stop", "skip"], "At an image that cannot be read; skipped ones are listed.")
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Processes, each with a shard in work.", lower_bound=1)
    flags.DEFINE_enum("runner", "local", ["local", "beam"], "Processes of this machine, or Apache Beam.")
    flags.DEFINE_string("beam_options", "", "Beam's own options, as '--runner=DataflowRunner --project=...'.")
    flags.DEFINE_string("csv_from_dicom", None, "Write a table from the tags of --images to this path, and stop.")


if __name__ == "__main__":
    cli.run(record_set_builder.build_record_set, define_flags)
