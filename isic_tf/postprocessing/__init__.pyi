from .calibrate_run import CalibrateConfig as CalibrateConfig, calibrate as calibrate
from .calibration import apply_calibration as apply_calibration, fit_calibration as fit_calibration
from .ensemble_predictions import EnsembleConfig as EnsembleConfig, ensemble as ensemble

__all__ = [
    "CalibrateConfig",
    "EnsembleConfig",
    "apply_calibration",
    "calibrate",
    "ensemble",
    "fit_calibration",
]
