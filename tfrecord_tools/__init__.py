"""Builds, indexes and verifies TFRecord sets of dermoscopic images.

The names of this package are imported when they are first used.

Examples:
    >>> import tfrecord_tools
    >>> config = tfrecord_tools.BuildConfig(csv="train.csv", images="jpeg", output="records/384", image_size=384)
    >>> config.quality
    95
"""

import os
import typing

import lazy_loader

# TensorFlow's remarks would bury a one-line error; an explicit setting of the user's wins. (Since 2.18 its start-up
# banner comes before it reads this.)
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# OpenCV reads this when it loads; its own limit is four times as high.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(2**28))

__version__ = "0.2.0"

from tfrecord_tools.errors import (
    ConfigError,
    CorruptRecordError,
    DivergenceError,
    IsicError,
    LeakageError,
)

if typing.TYPE_CHECKING:
    from tfrecord_tools.building import BuildConfig, IndexConfig, RecordSet, build_record_set, index_record_set
    from tfrecord_tools.deduplication import DuplicatesConfig, find_duplicates
    from tfrecord_tools.io import read_index
    from tfrecord_tools.splits import FoldsConfig, make_folds
    from tfrecord_tools.synthetic import SynthConfig, make_dataset
    from tfrecord_tools.verification import VerifyConfig, verify_record_set

__all__ = [
    "BuildConfig",
    "ConfigError",
    "CorruptRecordError",
    "DivergenceError",
    "DuplicatesConfig",
    "FoldsConfig",
    "IndexConfig",
    "IsicError",
    "LeakageError",
    "RecordSet",
    "SynthConfig",
    "VerifyConfig",
    "__version__",
    "build_record_set",
    "find_duplicates",
    "index_record_set",
    "make_dataset",
    "make_folds",
    "read_index",
    "verify_record_set",
]

_LAZY = {
    "building": ["BuildConfig", "IndexConfig", "RecordSet", "build_record_set", "index_record_set"],
    "deduplication": ["DuplicatesConfig", "find_duplicates"],
    "io": ["read_index"],
    "splits": ["FoldsConfig", "make_folds"],
    "synthetic": ["SynthConfig", "make_dataset"],
    "verification": ["VerifyConfig", "verify_record_set"],
}
_PACKAGES = ["building", "deduplication", "imaging", "io", "splits", "synthetic", "table_formats", "verification"]
__getattr__, _, _ = lazy_loader.attach(__name__, submodules=_PACKAGES, submod_attrs=_LAZY)


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])
