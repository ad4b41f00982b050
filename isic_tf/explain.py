"""Shows on an image what speaks for melanoma in the eyes of a run's networks: Grad-CAM.

python -m isic_tf.explain --workdir=runs/b0 --records='records/384/train*.tfrec' --output=explained.png

An image is explained by the folds that have not been trained on it. A map says where, not how much: its greatest value
is 1 on every image, however sure the network is.
"""

from absl import flags

from isic_tf.visualization import grad_cam_sheet
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("workdir", None, "Folder of a run with at least one trained fold.")
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("output", None, "Picture to write: .png, .jpg or .pdf.")
    flags.DEFINE_integer("images", 12, "Number of records, drawn evenly from all shards.", 1, 200)
    flags.DEFINE_string("names", "", "Image names to explain instead, separated by commas.")
    flags.DEFINE_integer("seed", 0, "Another seed draws other records.", 0, 2**31 - 1)
    flags.mark_flags_as_required(["workdir", "records", "output"])


if __name__ == "__main__":
    cli.run(grad_cam_sheet.explain, define_flags)
