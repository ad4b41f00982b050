"""Makes a run's scores probabilities, fitted on its out-of-fold predictions and judged on other patients.

python -m isic_tf.calibrate --workdir=runs/b0 --labels=train.csv
python -m isic_tf.predict --workdir=runs/b0 --calibrated --records='records/384/test*.tfrec' --output=test.csv

A network trained with label smoothing, on repeated malignant images or with --loss=auc (whose scores are ranks) gives
no probabilities until it is calibrated. This is fitted to the networks one by one; their average, which predict gives,
is a little less extreme, so that its calibration is close and not exact.
"""

from isic_tf.postprocessing.calibrate_run import CalibrateConfig, calibrate
from tfrecord_tools import cli

CONFIG = CalibrateConfig


def main():
    """Runs the command."""
    cli.run(calibrate, CONFIG, __doc__)


if __name__ == "__main__":
    main()
