from .config import FoldsConfig as FoldsConfig
from .fold_audit import audit_folds as audit_folds
from .fold_files import read_folds as read_folds
from .fold_table import make_folds as make_folds
from .published_folds import preset_folds as preset_folds
from .stratified_group_folds import assign_folds as assign_folds
from .stratified_group_folds import group_codes as group_codes

__all__ = [
    "FoldsConfig",
    "assign_folds",
    "audit_folds",
    "group_codes",
    "make_folds",
    "preset_folds",
    "read_folds",
]
