from .dry_runs import estimate_training as estimate_training
from .training_estimate import TrainingEstimate as TrainingEstimate

__all__ = [
    "TrainingEstimate",
    "estimate_training",
]
