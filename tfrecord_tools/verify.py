"""Checks record sets: bytes, schema, images, counts, names and leaks; ends with code 1 and a list of what is wrong.

python -m tfrecord_tools.verify --records='records/512/*.tfrec' --duplicates=ISIC_2020_Training_Duplicates.csv
python -m tfrecord_tools.verify --records='old/train*.tfrec' --quarantine=good
"""

import os

from absl import flags

from tfrecord_tools import cli
from tfrecord_tools.verification import record_set_verifier


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("records", None, "Glob of the shards, of one set or several.")
    flags.DEFINE_string("duplicates", None, "CSV with image_name_1 and image_name_2: pairs that must share a fold.")
    flags.DEFINE_boolean("decode", True, "Decode the images too; without, a set is checked as fast as it is read.")
    flags.DEFINE_string("quarantine", None, "New folder for the good records, and a list of the bad ones.")
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Shards in work at once.", lower_bound=1)
    flags.mark_flag_as_required("records")


if __name__ == "__main__":
    cli.run(record_set_verifier.verify_record_set, define_flags)
