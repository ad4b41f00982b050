from .config import DiagnoseConfig as DiagnoseConfig
from .diagnose_images import Diagnosis as Diagnosis
from .diagnose_images import diagnose as diagnose

__all__ = [
    "DiagnoseConfig",
    "Diagnosis",
    "diagnose",
]
