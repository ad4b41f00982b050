"""Exports a run as one model that needs nothing of this package: a SavedModel, or TensorFlow Lite files.

python -m isic_tf.export --workdir=runs/b0 --output=models/b0 --records='records/384/train0*.tfrec' --labels=train.csv

The SavedModel takes JPEG files and gives probabilities; experiments/serve_client.py shows how. A TensorFlow Lite model
takes an RGB image of the network's size. Both average the run's folds, as isic_tf.predict does.
"""

from absl import flags

from isic_tf.serving import export_run, tflite
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run with at least one trained fold.")
    flags.DEFINE_string("output", None, "Folder to write; new or empty.")
    flags.DEFINE_enum("format", "saved_model", export_run.FORMATS, "saved_model takes JPEG files, tflite an RGB image.")
    flags.DEFINE_string("fold", "all", "A fold's number, full, or all: the average of the trained ones.")
    flags.DEFINE_list(
        "quantize", ["float32"], f"With --format=tflite: some of {', '.join(tflite.FORMS)}, a file for each."
    )
    flags.DEFINE_string("records", None, "Shards to compare with the run on, in quotes; int8 needs some.")
    flags.DEFINE_string("labels", None, "CSV file with image_name, patient_id and target: the fall of the ROC AUC too.")
    flags.DEFINE_integer("threads", 0, "Threads of a TensorFlow Lite model; 0: as many as there are cores.", 0, 1024)
    flags.mark_flags_as_required(["workdir", "output"])


if __name__ == "__main__":
    cli.run(export_run.export, define_flags)
