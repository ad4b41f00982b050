"""Makes up a data set in the competition's shape, to try every command without the 100 GB.

A patient's moles share a look. A melanoma departs from it in asymmetry, border and colours, more or less clearly, so
both the image and the patient's other images tell. Nothing measured on it says anything about real skin.

    python -m tfrecord_tools.synth --output=made_up --num_patients=60
"""

from absl import flags

from tfrecord_tools import cli
from tfrecord_tools.synthetic import dataset


def define_flags():
    """Defines the command's flags."""
    flags.DEFINE_string("output", None, "Folder to write.")
    flags.DEFINE_integer("num_patients", 60, "Training patients, 16 images each on average.", lower_bound=1)
    flags.DEFINE_float("malignant_rate", dataset.MALIGNANT_RATE, "Share of malignant images.", 0.001, 0.999)
    flags.DEFINE_integer("seed", 0, "The same seed gives the same bytes.", lower_bound=0)
    flags.mark_flag_as_required("output")


if __name__ == "__main__":
    cli.run(dataset.make_dataset, define_flags)
