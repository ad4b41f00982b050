"""Splits a table into folds: no patient in two of them, malignancy and images per patient balanced; or audits folds.

python -m tfrecord_tools.folds --csv=train.csv --output=folds.csv --num_folds=5
python -m tfrecord_tools.folds --csv=train.csv --audit=folds.csv --duplicates=ISIC_2020_Training_Duplicates.csv
"""

from absl import flags

from tfrecord_tools import cli
from tfrecord_tools.splits import fold_table, published_folds


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("csv", None, "Table with image_name, patient_id and, to balance malignancy, target.")
    flags.DEFINE_string("output", None, "CSV file to write: image_name, fold (-1: in no fold).")
    flags.DEFINE_integer("num_folds", None, "Number of folds; 5 if not given.", lower_bound=2)
    flags.DEFINE_integer("seed", None, "Another seed gives other folds, as good; 0 if not given.", lower_bound=0)
    flags.DEFINE_string("duplicates", None, "CSV with image_name_1 and image_name_2, pairs that must share a fold.")
    flags.DEFINE_enum(
        "preset", None, list(published_folds.PRESETS), "Published folds, from the column tfrecord of Deotte's tables."
    )
    flags.DEFINE_string("audit", None, "CSV with image_name and fold to judge, folds or index; code 1 where it leaks.")
    flags.mark_flag_as_required("csv")


if __name__ == "__main__":
    cli.run(fold_table.make_folds, define_flags)
