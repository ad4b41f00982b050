from .evaluate_files import EvaluateConfig as EvaluateConfig, Evaluation as Evaluation, evaluate as evaluate

__all__ = [
    "EvaluateConfig",
    "Evaluation",
    "evaluate",
]
