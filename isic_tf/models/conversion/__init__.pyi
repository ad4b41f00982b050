from .config import WeightsConfig as WeightsConfig
from .convert_weights import convert_file as convert_file
from .source_files import read_source as read_source
from .weights_command import run_weights as run_weights

__all__ = [
    "WeightsConfig",
    "convert_file",
    "read_source",
    "run_weights",
]
