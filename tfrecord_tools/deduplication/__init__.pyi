from .config import DuplicatesConfig as DuplicatesConfig
from .image_similarity import make_views as make_views
from .near_duplicates import find_duplicates as find_duplicates
from .near_duplicates import match_views as match_views

__all__ = [
    "DuplicatesConfig",
    "find_duplicates",
    "make_views",
    "match_views",
]
