"""Draws Grad-CAM heat maps: which image regions increase the melanoma logit of a run's networks.

python -m isic_tf.explain --workdir=runs/b0 --records='records/384/train*.tfrec' --output=explained.png

Each image is explained by the folds that were not trained on it. A map shows where, not how much: its maximum is 1 on
every image, however confident the network is.
"""

from isic_tf.visualization.config import ExplainConfig
from tfrecord_tools import cli

CONFIG = ExplainConfig
WORK = "isic_tf.visualization.grad_cam_sheet:explain"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
