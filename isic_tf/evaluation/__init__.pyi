from .config import EvaluateConfig as EvaluateConfig
from .evaluate_predictions import Evaluation as Evaluation
from .evaluate_predictions import evaluate as evaluate

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "evaluate",
]
