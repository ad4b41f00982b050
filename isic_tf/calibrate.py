"""Makes a run's scores probabilities, fitted on its out-of-fold predictions and judged on other patients.

python -m isic_tf.calibrate --workdir=runs/b0 --labels=train.csv
python -m isic_tf.predict --workdir=runs/b0 --calibrated --records='records/384/test*.tfrec' --output=test.csv

A network trained with label smoothing, on repeated malignant images or with --loss=auc (whose scores are ranks) gives
no probabilities until it is calibrated. This is fitted to the networks one by one; their average, which predict gives,
is a little less extreme, so that its calibration is close and not exact.
"""

from absl import flags

from isic_tf.postprocessing import calibrate_run, calibration
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run; calibration.json is written there.")
    text = "What to fit to, if not the run's oof.csv: that of predict --out_of_fold, with the --tta that will be used."
    flags.DEFINE_string("oof", None, text)
    flags.DEFINE_string(
        "labels", None, "CSV file with image_name, patient_id and target; without it, the folds of --oof are trusted."
    )
    flags.DEFINE_enum(
        "method",
        "all",
        [*calibration.METHODS, "all"],
        "platt and temperature keep all ranks, so the ROC AUC; isotonic makes ties. all: what has the least log loss.",
    )
    flags.DEFINE_float("prevalence", None, "Share of malignant images where the run is used, if not that of --oof.")
    flags.mark_flags_as_required(["workdir"])


if __name__ == "__main__":
    cli.run(calibrate_run.calibrate, define_flags)
