"""Trains, applies and evaluates melanoma classifiers on TFRecords of dermoscopic images.

The names of this package are imported when they are first used, so that `import isic_tf` is fast and does not load
TensorFlow. It does select Keras 2 (`tf_keras`): Keras 3's `fit` fails under `TPUStrategy` and its maintainers do not
support `MultiWorkerMirroredStrategy` (keras-team/keras#19448, #20601).

Examples:
    >>> import isic_tf
    >>> config = isic_tf.TrainConfig(data_dir="records/384", workdir="runs/b0", image_size=384)
    >>> config.fold
    '0'
"""

import os
import sys
import types
import typing

import lazy_loader

os.environ["TF_USE_LEGACY_KERAS"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# TensorFlow itself takes oneDNN's kernels only on CPUs with AVX512_VNNI; elsewhere they train 1.8 times as fast, too.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

# `tf.keras` is bound at its first use; where that came before this import, it is Keras 3 for the process's life.
if "tensorflow" in sys.modules and not sys.modules["tensorflow"].keras.Model.__module__.startswith("tf_keras"):
    raise ImportError(
        "isic_tf needs Keras 2, but this process already uses Keras 3: restart it and import isic_tf before tf.keras, "
        "or set TF_USE_LEGACY_KERAS=1 before Python starts"
    )

from tfrecord_tools import __version__
from tfrecord_tools.cli import show_log
from tfrecord_tools.errors import (
    ConfigError,
    CorruptRecordError,
    DivergenceError,
    IsicError,
    LeakageError,
)

if typing.TYPE_CHECKING:
    from isic_tf.artifacts import Run
    from isic_tf.evaluation import Evaluation, evaluate
    from isic_tf.inference import PredictConfig, predict
    from isic_tf.training import RunResult, TrainConfig, train

__all__ = [
    "ConfigError",
    "CorruptRecordError",
    "DivergenceError",
    "Evaluation",
    "IsicError",
    "LeakageError",
    "PredictConfig",
    "Run",
    "RunResult",
    "TrainConfig",
    "__version__",
    "evaluate",
    "predict",
    "show_log",
    "train",
]

_LAZY = {
    "artifacts": ["Run"],
    "evaluation": ["Evaluation", "evaluate"],
    "inference": ["PredictConfig", "predict"],
    "training": ["RunResult", "TrainConfig", "train"],
}
_PACKAGES = [
    "artifacts",
    "augmentation",
    "data",
    "diagnosis",
    "distribution",
    "evaluation",
    "image_quality",
    "inference",
    "metrics",
    "models",
    "novelty",
    "optim",
    "patient_context",
    "postprocessing",
    "serving",
    "training",
    "visualization",
]
__getattr__, _, _ = lazy_loader.attach(__name__, submodules=_PACKAGES, submod_attrs=_LAZY)


def __dir__() -> list[str]:
    return sorted([*__all__, *_PACKAGES])


class _Package(types.ModuleType):
    """Keeps `isic_tf.train` the function where the command module of that name is imported too."""

    def __setattr__(self, name: str, value: object) -> None:
        """Binds a submodule, unless a public function has its name."""
        if not (isinstance(value, types.ModuleType) and name in __all__):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
