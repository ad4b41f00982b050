"""Checks record sets: bytes, schema, images, counts, names and leaks; exits with code 1 if there are problems.

python -m tfrecord_tools.verify --records='records/512/*.tfrec' --duplicates=ISIC_2020_Training_Duplicates.csv
python -m tfrecord_tools.verify --records='old/train*.tfrec' --quarantine=good
"""

from tfrecord_tools import cli
from tfrecord_tools.verification.config import VerifyConfig

CONFIG = VerifyConfig
WORK = "tfrecord_tools.verification.record_set_verifier:verify_record_set"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
