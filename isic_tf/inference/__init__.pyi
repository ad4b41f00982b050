from .predict_run import PredictConfig as PredictConfig, predict as predict
from .predictor import make_predictor as make_predictor

__all__ = [
    "PredictConfig",
    "make_predictor",
    "predict",
]
