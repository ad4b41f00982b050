"""Trains a classifier on all folds but one, and keeps the weights with the best ROC AUC on the held-out fold.

python -m isic_tf.train --data_dir=records/384 --workdir=runs/lite0 --fold=0 --image_size=384

The same command again resumes an interrupted run, with the same result as without the interruption.
"""

from isic_tf.training.config import TrainConfig
from tfrecord_tools import cli

CONFIG = TrainConfig
WORK = "isic_tf.training.loop:train"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
