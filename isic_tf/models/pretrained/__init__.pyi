from .published_weights import load_published
from .torch_files import read_state_dict
from .weights_cache import locate
from .weights_files import check_format, load_weights
from .weights_table import PublishedFile, find_files, identify, list_kinds, read_table

__all__ = [
    "PublishedFile",
    "check_format",
    "find_files",
    "identify",
    "list_kinds",
    "load_published",
    "load_weights",
    "locate",
    "read_state_dict",
    "read_table",
]
