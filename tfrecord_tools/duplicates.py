"""Finds images that show one photograph: rotated, flipped, cropped, resized, stretched, brightened or encoded again.

python -m tfrecord_tools.duplicates --images=jpeg --output=pairs.csv
python -m tfrecord_tools.duplicates --records='records/512/train*.tfrec' --output=pairs.csv --against=jpeg

Each view of an image gets a descriptor that rotations and flips do not change, and blocked matrix products find the
nearest views of each view. Only this step grows faster than the number of images: with its square, above 262,144 views
with its 1.5th power, see `nearest_views`. Only the pairs found are then aligned, a fixed number per view.
`image_similarity` describes the method.
"""

from tfrecord_tools import cli
from tfrecord_tools.deduplication.config import DuplicatesConfig

CONFIG = DuplicatesConfig
WORK = "tfrecord_tools.deduplication.near_duplicates:find_duplicates"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
