from .detector import Detector as Detector
from .detector import fit_detector as fit_detector
from .detector import measure as measure
from .detector_file import load_detector as load_detector
from .detector_file import save_detector as save_detector

__all__ = [
    "Detector",
    "fit_detector",
    "load_detector",
    "measure",
    "save_detector",
]
