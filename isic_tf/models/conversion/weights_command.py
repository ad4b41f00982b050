"""Runs the command for weights."""

import logging

from isic_tf.models.conversion import check_weights, convert_weights, list_weights
from isic_tf.models.conversion.config import WeightsConfig
from tfrecord_tools.io import output_lock

_LOG = logging.getLogger(__name__)


@output_lock.locking("output")
def run_weights(config: WeightsConfig) -> list[str]:
    """Lists published weights, says what a file is, or converts one; logs lines of text.

    Args:
        config: What to do.

    Returns:
        The lines.

    Raises:
        IsicError: A file is damaged or foreign, see `check_weights` and `convert_weights`.

    Examples:
        >>> run_weights(WeightsConfig(list=True))[0].split()
        ['backbone', 'weights', 'top', 'bytes', 'here', 'digest', 'file']
    """
    if config.list:
        lines = list_weights.list_published()
    elif config.check:
        lines = check_weights.describe_file(config.check, config.backbone)
    else:
        lines = convert_weights.convert_file(config)
    for line in lines:
        _LOG.info(line)
    return lines
