"""Generates a synthetic data set in the competition's format, to try every command without the 100 GB of real data.

The moles of a patient look alike. A melanoma departs from them in asymmetry, border and colors, more or less clearly,
so that both the image and the patient's other images are informative. Results on these images do not apply to real
skin.

    python -m tfrecord_tools.synth --output=synthetic --num_patients=60
"""

from tfrecord_tools import cli
from tfrecord_tools.synthetic.config import SynthConfig

CONFIG = SynthConfig
WORK = "tfrecord_tools.synthetic.dataset:make_dataset"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
