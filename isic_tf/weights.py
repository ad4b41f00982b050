"""Lists the published weights, says what a weights file is, or converts one for --weights.

python -m isic_tf.weights --list
python -m isic_tf.weights --check=efficientnet-b0.h5
python -m isic_tf.weights --convert=tf_efficientnet_b0.ns_jft_in1k.safetensors --output=b0.h5
"""

from isic_tf.models.conversion.config import WeightsConfig
from tfrecord_tools import cli

CONFIG = WeightsConfig
WORK = "isic_tf.models.conversion.weights_command:run_weights"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
