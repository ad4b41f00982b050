"""Checks a submission against the sample submission of the competition: names, order, probabilities.

python -m isic_tf.submission --submission=submission.csv --sample_submission=sample_submission.csv
"""

from isic_tf.artifacts.submission_format import SubmissionConfig, validate_submission
from tfrecord_tools import cli

CONFIG = SubmissionConfig


def main() -> None:
    """Runs the command."""
    cli.run(validate_submission, CONFIG, __doc__)


if __name__ == "__main__":
    main()
