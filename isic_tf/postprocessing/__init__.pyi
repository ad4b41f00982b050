from .calibrate_run import CalibrationResult as CalibrationResult
from .calibrate_run import calibrate as calibrate
from .calibration import apply_calibration as apply_calibration
from .calibration import fit_calibration as fit_calibration
from .challenge_submissions import prepare_submission as prepare_submission
from .config import CalibrateConfig as CalibrateConfig
from .config import ChallengeSubmissionConfig as ChallengeSubmissionConfig
from .ensemble_config import EnsembleConfig as EnsembleConfig
from .ensemble_predictions import EnsembleResult as EnsembleResult
from .ensemble_predictions import ensemble as ensemble

__all__ = [
    "CalibrateConfig",
    "CalibrationResult",
    "ChallengeSubmissionConfig",
    "EnsembleConfig",
    "EnsembleResult",
    "apply_calibration",
    "calibrate",
    "ensemble",
    "fit_calibration",
    "prepare_submission",
]
