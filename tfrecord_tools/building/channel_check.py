"""Warns where the red and blue channels of a record set seem to be exchanged, by a sample of its images."""

import logging
from collections.abc import Iterator, Sequence

import numpy as np

from tfrecord_tools import errors
from tfrecord_tools.imaging import channel_order, codec
from tfrecord_tools.io import tfrecord

_LOG = logging.getLogger(__name__)

# Images that are decoded, at an eighth of their size; the share of so many is known to 2 %.
_MAX_SAMPLED = 500

# Path of the shard, where the record starts, and the length of its data, both in bytes.
Place = tuple[str, int, int]


def list_places(shards: Sequence[str]) -> list[Place]:
    """Lists where the records of shards are.

    Args:
        shards: Paths of intact shards.

    Returns:
        One `Place` per record, in file order.

    Raises:
        CorruptRecordError: See `tfrecord.list_places`.
    """
    return [(shard, offset, length) for shard in shards for offset, length in tfrecord.list_places(shard)]


def warn_of_exchanged_channels(name: str, places: Sequence[Place]) -> str | None:
    """Logs a warning where more images are blue than in genuine sets, see `channel_order.find_exchanged`.

    Args:
        name: The record set, for the log.
        places: One `Place` per record; up to 500 are sampled evenly. Images that cannot be decoded are left out.

    Returns:
        Text of the warning; None where there is none.
    """
    chosen = np.linspace(0, len(places) - 1, min(len(places), _MAX_SAMPLED)).round().astype(int)
    warning = channel_order.find_exchanged(list(_measure([places[number] for number in chosen])))
    if warning:
        _LOG.warning(f"note: {name}: {warning}")
    return warning


def _measure(places: Sequence[Place]) -> Iterator[tuple[float, float]]:
    for path, offset, length in places:
        features, problems = tfrecord.parse(tfrecord.read_at(path, offset, length))
        if problems:
            continue
        try:
            image, _ = codec.decode(features["image"], f"{path} at byte {offset}", at_least=1)
        except errors.CorruptRecordError:
            # Damage is found by `tfrecord_tools.verify`, and where the record is used.
            continue
        yield channel_order.mean_red_and_blue(image)
