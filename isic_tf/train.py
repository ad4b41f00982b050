"""Trains a classifier on all folds but one and keeps the weights that rank the held-out fold best.

python -m isic_tf.train --data_dir=records/384 --workdir=runs/b0 --fold=0 --image_size=384 --backbone=efficientnet-b0

The same command again goes on where the run was stopped, and ends as if it had not been.
"""

from isic_tf.training.config import TrainConfig
from isic_tf.training.loop import train
from tfrecord_tools import cli

CONFIG = TrainConfig


def main():
    """Runs the command."""
    cli.run(train, CONFIG, __doc__)


if __name__ == "__main__":
    main()
