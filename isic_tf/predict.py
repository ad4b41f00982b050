"""Predicts records or image files with the trained folds of a run.

python -m isic_tf.predict --workdir=runs/b0 --records='records/384/test*.tfrec' --output=submission.csv \
    --sample_submission=sample_submission.csv --tta=8

The same command again goes on where it was stopped.
"""

from isic_tf.inference.predict_run import PredictConfig, predict
from tfrecord_tools import cli

CONFIG = PredictConfig


def main():
    """Runs the command."""
    cli.run(predict, CONFIG, __doc__)


if __name__ == "__main__":
    main()
