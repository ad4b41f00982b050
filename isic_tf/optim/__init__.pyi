from .config import OptimizerConfig as OptimizerConfig
from .lr_schedules import make_schedule as make_schedule
from .optimizers import make_optimizer as make_optimizer

__all__ = [
    "OptimizerConfig",
    "make_optimizer",
    "make_schedule",
]
