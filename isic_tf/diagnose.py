"""Judges one photograph, or a few, by a trained run: probability with its interval, map, place among others, warnings.

python -m isic_tf.diagnose --workdir=runs/lite0 photo.jpg --report=photo.html

Not a medical device. For many images, isic_tf.predict is faster.
"""

from isic_tf.diagnosis.config import DiagnoseConfig
from tfrecord_tools import cli

CONFIG = DiagnoseConfig
WORK = "isic_tf.diagnosis.diagnose_images:diagnose"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
