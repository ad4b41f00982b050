"""Judges prediction files: ranking, calibration, operating points, groups, patients and shortcuts, with intervals.

python -m isic_tf.evaluate --predictions=runs/b0/oof.csv --labels=train.csv --output=metrics.json
"""

from absl import flags

from isic_tf.evaluation import evaluate_files, evaluator
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_list(
        "predictions",
        None,
        "CSV files with image_name and prediction, or submissions, separated by commas; the first is compared with "
        "each other.",
    )
    flags.DEFINE_string(
        "labels",
        None,
        "CSV file with image_name, patient_id and target, and perhaps fold, source, sex, age_approx, "
        "anatom_site_general_challenge, diagnosis, width, height, bytes.",
    )
    text = "Glob pattern of shards, in quotes, that know the sizes of images and files, and hold the report's pictures."
    flags.DEFINE_string("records", None, text)
    flags.DEFINE_string("report", None, "HTML file to write: figures, curves, and with --records the worst errors.")
    text = "For --report: run whose training is shown and whose networks explain the worst errors (Grad-CAM)."
    flags.DEFINE_string("workdir", None, text)
    flags.DEFINE_string("output", None, "JSON file to write all figures to.")
    flags.DEFINE_float("threshold", None, "Prediction from which an image is called malignant.", 0.0, 1.0)
    flags.DEFINE_float(
        "specificity",
        None,
        f"Choose the threshold with this specificity (0 to 1), not that with {evaluator.SENSITIVITY} sensitivity.",
        0.0,
        1.0,
    )
    flags.mark_flags_as_required(["predictions", "labels"])


if __name__ == "__main__":
    cli.run(evaluate_files.evaluate, define_flags)
