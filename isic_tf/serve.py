"""Serves a trained run: a page that judges dropped images of a patient, and an HTTP API for programs.

python -m isic_tf.serve --workdir=runs/lite0

Not a medical device. Only this machine is answered, unless --host names another address. Needs the extra serve.
"""

from isic_tf.server.config import ServeConfig
from tfrecord_tools import cli

CONFIG = ServeConfig
WORK = "isic_tf.server.serving:serve"


def main() -> None:
    """Runs the command."""
    cli.run(WORK, CONFIG, __doc__)


if __name__ == "__main__":
    main()
