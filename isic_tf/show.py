"""Draws a contact sheet: records as the network sees them, original and augmented.

python -m isic_tf.show --records='records/384/train*.tfrec' --augment --augment_policy=strong --output=sheet.png
"""

from isic_tf.visualization.config import ShowConfig
from tfrecord_tools import cli

CONFIG = ShowConfig
WORK = "isic_tf.visualization.contact_sheet:show"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
