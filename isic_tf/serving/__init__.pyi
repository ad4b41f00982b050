from .export_run import ExportConfig as ExportConfig, export as export

__all__ = [
    "ExportConfig",
    "export",
]
