r"""Predicts records or image files with the trained folds of a run.

python -m isic_tf.predict --workdir=runs/b0 --records='records/384/test*.tfrec' --output=submission.csv \
    --sample_submission=sample_submission.csv --tta=8

The same command resumes an interrupted prediction.
"""

from isic_tf.inference.config import PredictFilesConfig
from tfrecord_tools import cli

CONFIG = PredictFilesConfig
WORK = "isic_tf.inference.predict_run:predict_files"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
