from .config import DiagnoseConfig as DiagnoseConfig
from .config import JudgeConfig as JudgeConfig
from .diagnose_images import diagnose as diagnose
from .judge import Diagnosis as Diagnosis
from .judge import Judge as Judge
from .neighbors import Neighbor as Neighbor

__all__ = [
    "DiagnoseConfig",
    "Diagnosis",
    "Judge",
    "JudgeConfig",
    "Neighbor",
    "diagnose",
]
