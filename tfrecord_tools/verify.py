"""Checks record sets: bytes, schema, images, counts, names and leaks; exits with code 1 if there are problems.

python -m tfrecord_tools.verify --records='records/512/*.tfrec' --duplicates=ISIC_2020_Training_Duplicates.csv
python -m tfrecord_tools.verify --records='old/train*.tfrec' --quarantine=good
"""

from tfrecord_tools import cli
from tfrecord_tools.verification.record_set_verifier import VerifyConfig, verify_record_set

CONFIG = VerifyConfig


def main() -> None:
    """Runs the command."""
    cli.run(verify_record_set, CONFIG, __doc__)


if __name__ == "__main__":
    main()
