"""Finds images that show one photograph: turned, flipped, cropped, resized, stretched, brightened or encoded again.

python -m tfrecord_tools.duplicates --images=jpeg --output=pairs.csv
python -m tfrecord_tools.duplicates --records='records/512/train*.tfrec' --output=pairs.csv --against=jpeg

Each view of an image gets a descriptor that no turn and no flip changes, and blocked matrix products find each view's
nearest ones: that alone grows with the square of the number of images. Only those pairs are laid over each other, so
many a view; `likeness` says how.
"""

from tfrecord_tools import cli
from tfrecord_tools.deduplication.near_duplicates import DuplicatesConfig, find_duplicates

CONFIG = DuplicatesConfig


def main():
    """Runs the command."""
    cli.run(find_duplicates, CONFIG, __doc__)


if __name__ == "__main__":
    main()
