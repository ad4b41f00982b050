"""Evaluates prediction files: ranking, calibration, operating points, subgroups, patients and shortcuts.

python -m isic_tf.evaluate --predictions=runs/b0/oof.csv --labels=train.csv --output=metrics.json

Intervals are 95 percent bootstrap intervals over patients. The first file is compared with each of the others.
Files with columns probability_CLASS are evaluated by class too.
"""

from isic_tf.evaluation.config import EvaluateConfig
from tfrecord_tools import cli

CONFIG = EvaluateConfig
WORK = "isic_tf.evaluation.evaluate_files:evaluate_files"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
