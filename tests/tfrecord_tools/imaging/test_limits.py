import dataclasses

import pytest

from tfrecord_tools import errors
from tfrecord_tools.building import build_config
from tfrecord_tools.deduplication import near_duplicates
from tfrecord_tools.imaging import limits


@pytest.mark.parametrize(
    ("size", "changes", "message"),
    [
        ((6000, 4000), {}, None),
        ((10_000, 10_000), {}, None),
        ((101, 100), {"max_image_side": 100}, "x.jpg has 101x100 pixels, expected sides of at most 100; shrink it"),
        ((1500, 1000), {"max_image_megapixels": 1}, "x.jpg has 1500x1000 pixels, expected at most 1 million; shrink"),
        ((0, 100), {}, "x.jpg has 0x100 pixels, expected at least 1x1; replace the file"),
    ],
)
def test_sizes_beyond_the_limits_are_refused(size, changes, message):
    if message is None:
        limits.check_size(limits.DEFAULTS, "x.jpg", *size)
        return
    with pytest.raises(errors.CorruptRecordError, match=message):
        limits.check_size(limits.ImageLimits(**changes), "x.jpg", *size)


def test_memory_beyond_the_limit_is_refused():
    small = limits.ImageLimits(max_image_megabytes=2)
    limits.check_memory(small, "x.png", 2 << 20)
    with pytest.raises(
        errors.CorruptRecordError, match="x.png needs 3 MB to be decoded, expected at most 2; shrink it"
    ):
        limits.check_memory(small, "x.png", 3 << 20)


def test_the_limits_are_options_of_the_commands_and_taken_from_them():
    for config in (
        build_config.BuildConfig(max_image_seconds=3),
        near_duplicates.DuplicatesConfig(images="a", output="b", max_image_seconds=3),
    ):
        assert limits.extract(config) == dataclasses.replace(limits.DEFAULTS, max_image_seconds=3)
