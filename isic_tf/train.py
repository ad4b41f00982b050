"""Trains a classifier on all folds but one and keeps the weights that rank the held-out fold best.

python -m isic_tf.train --data_dir=records/384 --workdir=runs/b0 --fold=0 --image_size=384 --backbone=efficientnet-b0

The same command again goes on where the run was stopped, and ends as if it had not been.
"""

from absl import flags

from isic_tf import shared_flags
from isic_tf.training import loop
from tfrecord_tools import cli


def define_flags():
    """Defines the command's flags."""
    shared_flags.define_data_flags()
    shared_flags.define_model_flags()
    shared_flags.define_optimizer_flags()
    shared_flags.define_run_flags()
    shared_flags.define_strategy_flags()
    flags.adopt_module_key_flags(shared_flags)
    flags.mark_flags_as_required(["data_dir", "workdir"])


if __name__ == "__main__":
    cli.run(loop.train, define_flags)
