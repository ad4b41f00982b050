from .config import TrainConfig as TrainConfig
from .loop import train as train
from .run_result import RunResult as RunResult
from .training_estimate import TrainingEstimate as TrainingEstimate

__all__ = [
    "RunResult",
    "TrainConfig",
    "TrainingEstimate",
    "train",
]
