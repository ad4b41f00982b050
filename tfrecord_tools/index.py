"""Makes manifest and index for a record set that others made, in one pass and without decoding an image.

python -m tfrecord_tools.index --records='kaggle/train*.tfrec' --csv=train.csv --folds=folds.csv
"""

from absl import flags

from tfrecord_tools import cli
from tfrecord_tools.building import record_set_indexer


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("records", None, "Glob of the shards, of one folder; those named test... are the test split.")
    flags.DEFINE_string("csv", None, "Table with image_name and patient_id, to join by name.")
    flags.DEFINE_string("folds", None, "CSV with image_name and fold, as tfrecord_tools.folds writes.")
    flags.DEFINE_string("output", None, "Folder for both files and links to shards in a folder that is read-only.")
    flags.mark_flag_as_required("records")


if __name__ == "__main__":
    cli.run(record_set_indexer.index_record_set, define_flags)
