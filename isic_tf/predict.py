"""Predicts records or image files with the trained folds of a run.

python -m isic_tf.predict --workdir=runs/b0 --records='records/384/test*.tfrec' --output=submission.csv \
    --sample_submission=sample_submission.csv --tta=8

The same command again goes on where it was stopped.
"""

from absl import flags

from isic_tf import shared_flags
from isic_tf.inference import predict_run, test_time_augmentation
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run with at least one trained fold; all its folds are averaged.")
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("images", None, "Folder of JPEG, PNG or DICOM files, in place of --records.")
    flags.DEFINE_string(
        "csv", None, "For --images: image_name, what the run's --metadata names, and perhaps patient_id."
    )
    flags.DEFINE_string("output", None, "CSV file to write: image_name, prediction.")
    flags.DEFINE_string(
        "sample_submission", None, "Write a submission instead: image_name, target in this file's order."
    )
    text = "Show an image only to the folds that have not seen it or its patient; adds the columns fold and target."
    flags.DEFINE_bool("out_of_fold", False, text)
    flags.DEFINE_integer("tta", 1, "Versions of each image whose probabilities are averaged.", 1, 1000)
    text = "Versions: symmetries of the square (8 at most), or draws of the training's augmentation."
    flags.DEFINE_enum("tta_policy", "dihedral", test_time_augmentation.KINDS, text)
    flags.DEFINE_string("embeddings", None, "NumPy archive (.npz) of the pooled features of each fold, to write too.")
    flags.DEFINE_bool("calibrated", False, "Apply the run's calibration.json, see isic_tf.calibrate.")
    text = "With --calibrated: share of malignant images where the predictions are used, as 0.0176."
    flags.DEFINE_float("prevalence", None, text)
    text = "Folder of a second stage by isic_tf.context: judges each image beside the patient's others; adds stage_one."
    flags.DEFINE_string("context", None, text)
    flags.DEFINE_integer("seed", 0, "Fixes the draws of --tta_policy=training.", 0, 2**31 - 1)
    flags.DEFINE_integer("batch_size", 32, "Images in a step on one replica.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Images decoded at once; 0: as many as there are cores.", 0, 1024)
    shared_flags.define_strategy_flags()
    flags.adopt_module_key_flags(shared_flags)
    flags.mark_flags_as_required(["workdir", "output"])


if __name__ == "__main__":
    cli.run(predict_run.predict, define_flags)
