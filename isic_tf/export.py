"""Exports a run as one model that does not need isic-tf: a SavedModel, TensorFlow Lite files, or an ONNX file.

python -m isic_tf.export --workdir=runs/b0 --output=models/b0 --records='records/384/train0*.tfrec' --labels=train.csv

The SavedModel takes JPEG files and returns probabilities; experiments/examples/serve_client.py is a client. A
TensorFlow Lite model takes an RGB image of the network's size, an ONNX model a batch of them. All average the folds of
the run, as isic_tf.predict does.
"""

from isic_tf.serving.config import ExportConfig
from tfrecord_tools import cli

CONFIG = ExportConfig
WORK = "isic_tf.serving.export_run:export"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
