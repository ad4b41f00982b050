"""Checks a submission to a challenge, or writes predictions of several classes as one.

python -m isic_tf.submission --submission=submission.csv --sample_submission=sample_submission.csv
python -m isic_tf.submission --format=isic2019 --predictions=test.csv --output=submission.csv
python -m isic_tf.submission --format=milk10k --predictions=test.csv --table=metadata.csv --output=submission.csv
"""

from tfrecord_tools import cli

with cli.quiet_imports():
    from isic_tf.postprocessing.challenge_submissions import ChallengeSubmissionConfig, prepare_submission

CONFIG = ChallengeSubmissionConfig


def main() -> None:
    """Runs the command."""
    cli.run(prepare_submission, CONFIG, __doc__)


if __name__ == "__main__":
    main()
