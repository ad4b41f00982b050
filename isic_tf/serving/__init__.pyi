from .config import ExportConfig as ExportConfig
from .export_run import ExportResult as ExportResult
from .export_run import export as export

__all__ = [
    "ExportConfig",
    "ExportResult",
    "export",
]
