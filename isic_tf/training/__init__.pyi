from .config import TrainConfig as TrainConfig
from .loop import RunResult as RunResult, train as train

__all__ = [
    "RunResult",
    "TrainConfig",
    "train",
]
