from .calibrate_run import CalibrateConfig as CalibrateConfig
from .calibrate_run import CalibrationResult as CalibrationResult
from .calibrate_run import calibrate as calibrate
from .calibration import apply_calibration as apply_calibration
from .calibration import fit_calibration as fit_calibration
from .ensemble_predictions import EnsembleConfig as EnsembleConfig
from .ensemble_predictions import EnsembleResult as EnsembleResult
from .ensemble_predictions import ensemble as ensemble

__all__ = [
    "CalibrateConfig",
    "CalibrationResult",
    "EnsembleConfig",
    "EnsembleResult",
    "apply_calibration",
    "calibrate",
    "ensemble",
    "fit_calibration",
]
