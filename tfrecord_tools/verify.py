"""Checks record sets: bytes, schema, images, counts, names and leaks; ends with code 1 and a list of what is wrong.

python -m tfrecord_tools.verify --records='records/512/*.tfrec' --duplicates=ISIC_2020_Training_Duplicates.csv
python -m tfrecord_tools.verify --records='old/train*.tfrec' --quarantine=good
"""

from tfrecord_tools import cli
from tfrecord_tools.verification.record_set_verifier import VerifyConfig, verify_record_set

CONFIG = VerifyConfig


def main():
    """Runs the command."""
    cli.run(verify_record_set, CONFIG, __doc__)


if __name__ == "__main__":
    main()
