"""Checks a submission against the sample submission of the competition: names, order, probabilities.

python -m isic_tf.submission --submission=submission.csv --sample_submission=sample_submission.csv
"""

from tfrecord_tools import cli

with cli.quiet_imports():
    from isic_tf.artifacts.submission_format import SubmissionConfig, validate_submission

CONFIG = SubmissionConfig


def main() -> None:
    """Runs the command."""
    cli.run(validate_submission, CONFIG, __doc__)


if __name__ == "__main__":
    main()
