"""Makes up a data set in the competition's shape, to try every command without the 100 GB.

A patient's moles share a look. A melanoma departs from it in asymmetry, border and colours, more or less clearly, so
both the image and the patient's other images tell. Nothing measured on it says anything about real skin.

    python -m tfrecord_tools.synth --output=made_up --num_patients=60
"""

from tfrecord_tools import cli
from tfrecord_tools.synthetic.dataset import SynthConfig, make_dataset

CONFIG = SynthConfig


def main():
    """Runs the command."""
    cli.run(make_dataset, CONFIG, __doc__)


if __name__ == "__main__":
    main()
