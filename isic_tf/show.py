"""Draws a contact sheet: what the model sees of some records, as they are and augmented.

python -m isic_tf.show --records='records/384/train*.tfrec' --augment --augment_policy=strong --output=sheet.png
"""

from absl import flags

from isic_tf.augmentation import presets
from isic_tf.visualization import contact_sheet
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("records", None, "Glob pattern of shards, in quotes; several are separated by commas.")
    flags.DEFINE_string("output", None, "Picture to write: .png, .jpg or .pdf.")
    flags.DEFINE_integer("images", 8, "Number of records, drawn evenly from all shards.", 1, 200)
    flags.DEFINE_string("names", "", "Image names to show instead, separated by commas.")
    flags.DEFINE_integer("image_size", 256, "Side of the model's input, pixels.", 32, 4096)
    flags.DEFINE_bool("augment", False, "Show augmented versions beside each image.")
    flags.DEFINE_integer("versions", 6, "Number of augmented versions, those of as many epochs.", 1, 30)
    flags.DEFINE_string("augment_policy", "light", f"One of {', '.join(presets.PRESETS)}, or a JSON file.")
    flags.DEFINE_float("augment_strength", 1.0, "Factor on the policy's strengths; 0: no augmentation.", 0.0, 5.0)
    flags.DEFINE_integer("seed", 0, "The run's seed.", 0, 2**31 - 1)
    flags.mark_flags_as_required(["records", "output"])


if __name__ == "__main__":
    cli.run(contact_sheet.show, define_flags)
