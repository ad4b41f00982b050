from .fold_table import FoldsConfig as FoldsConfig, make_folds as make_folds

__all__ = [
    "FoldsConfig",
    "make_folds",
]
