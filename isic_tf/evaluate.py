"""Judges prediction files: ranking, calibration, operating points, groups, patients and shortcuts, with intervals.

python -m isic_tf.evaluate --predictions=runs/b0/oof.csv --labels=train.csv --output=metrics.json
"""

from isic_tf.evaluation.evaluate_files import EvaluateConfig, evaluate
from tfrecord_tools import cli

CONFIG = EvaluateConfig


def main():
    """Runs the command."""
    cli.run(evaluate, CONFIG, __doc__)


if __name__ == "__main__":
    main()
