"""Checks a submission against the sample that the competition gives: names, order, probabilities.

python -m isic_tf.submission --submission=submission.csv --sample_submission=sample_submission.csv
"""

from absl import flags

from isic_tf.artifacts import submission_format
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("submission", None, "CSV file to check: image_name, target.")
    flags.DEFINE_string("sample_submission", None, "The competition's sample: the names and their order.")
    flags.mark_flags_as_required(["submission", "sample_submission"])


if __name__ == "__main__":
    cli.run(submission_format.validate_submission, define_flags)
