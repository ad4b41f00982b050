from .near_duplicates import DuplicatesConfig as DuplicatesConfig, find_duplicates as find_duplicates

__all__ = [
    "DuplicatesConfig",
    "find_duplicates",
]
