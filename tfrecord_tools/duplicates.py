"""Finds images that show one photograph: turned, flipped, cropped, resized, stretched, brightened or encoded again.

python -m tfrecord_tools.duplicates --images=jpeg --output=pairs.csv
python -m tfrecord_tools.duplicates --records='records/512/train*.tfrec' --output=pairs.csv --against=jpeg

Each view of an image gets a descriptor that no turn and no flip changes, and blocked matrix products find each view's
nearest ones: that alone grows with the square of the number of images. Only those pairs are laid over each other, so
many a view; `likeness` says how.
"""

import os

from absl import flags

from tfrecord_tools import cli
from tfrecord_tools.deduplication import near_duplicates


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("images", None, "Folder of JPEG, PNG or DICOM files, or of a folder train of them.")
    flags.DEFINE_string("records", None, "Glob of shards to read in place of --images.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name_1, image_name_2, distance.")
    flags.DEFINE_string("against", None, "Folder or glob of another set: pairs between the two, none within either.")
    text = "Greatest distance of a pair: up to 0.2 mostly one photograph, to 0.6 one lesion, above that chance."
    flags.DEFINE_float("max_distance", 0.4, text, 0, 0.99)
    flags.DEFINE_integer("workers", os.cpu_count() or 1, "Threads.", lower_bound=1)
    flags.mark_flags_as_required(["output"])


if __name__ == "__main__":
    cli.run(near_duplicates.find_duplicates, define_flags)
