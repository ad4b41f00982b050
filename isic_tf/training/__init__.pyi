from .config import TrainConfig as TrainConfig
from .dry_run.training_estimate import TrainingEstimate as TrainingEstimate
from .loop import train as train
from .run_result import RunResult as RunResult

__all__ = [
    "RunResult",
    "TrainConfig",
    "TrainingEstimate",
    "train",
]
