"""Checks a submission to a challenge, or writes predictions of several classes as one.

python -m isic_tf.submission --submission=submission.csv --sample_submission=sample_submission.csv
python -m isic_tf.submission --format=isic2019 --predictions=test.csv --output=submission.csv
python -m isic_tf.submission --format=milk10k --predictions=test.csv --table=metadata.csv --output=submission.csv
"""

from isic_tf.postprocessing.config import ChallengeSubmissionConfig
from tfrecord_tools import cli

CONFIG = ChallengeSubmissionConfig
WORK = "isic_tf.postprocessing.challenge_submissions:prepare_submission"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
