"""Calibrates the scores of a run, fitted on its out-of-fold predictions and evaluated on other patients.

python -m isic_tf.calibrate --workdir=runs/b0 --labels=train.csv
python -m isic_tf.predict --workdir=runs/b0 --calibrated --records='records/384/test*.tfrec' --output=test.csv

The scores of a network trained with label smoothing, with oversampled malignant images or with --loss=auc (whose scores
are ranks) are not probabilities until they are calibrated. The calibration is fitted to single networks; the average of
the folds, which predict writes, is slightly less extreme, so its calibration is close but not exact.
"""

from isic_tf.postprocessing.config import CalibrateConfig
from tfrecord_tools import cli

CONFIG = CalibrateConfig
WORK = "isic_tf.postprocessing.calibrate_run:calibrate"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
