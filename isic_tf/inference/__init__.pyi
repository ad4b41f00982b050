from .config import PredictConfig as PredictConfig
from .config import PredictFilesConfig as PredictFilesConfig
from .predict_run import predict as predict
from .predict_run import predict_files as predict_files
from .predictor import make_predictor as make_predictor
from .test_time_augmentation import make_views as make_views

__all__ = [
    "PredictConfig",
    "PredictFilesConfig",
    "make_predictor",
    "make_views",
    "predict",
    "predict_files",
]
