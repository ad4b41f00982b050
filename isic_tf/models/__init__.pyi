from .backbones import BACKBONES as BACKBONES
from .classifiers import build_classifier as build_classifier
from .classifiers import build_from_config as build_from_config
from .config import ModelConfig as ModelConfig

__all__ = [
    "BACKBONES",
    "ModelConfig",
    "build_classifier",
    "build_from_config",
]
