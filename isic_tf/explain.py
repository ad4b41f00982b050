"""Shows on an image what speaks for melanoma in the eyes of a run's networks: Grad-CAM.

python -m isic_tf.explain --workdir=runs/b0 --records='records/384/train*.tfrec' --output=explained.png

An image is explained by the folds that have not been trained on it. A map says where, not how much: its greatest value
is 1 on every image, however sure the network is.
"""

from isic_tf.visualization.grad_cam_sheet import ExplainConfig, explain
from tfrecord_tools import cli

CONFIG = ExplainConfig


def main():
    """Runs the command."""
    cli.run(explain, CONFIG, __doc__)


if __name__ == "__main__":
    main()
