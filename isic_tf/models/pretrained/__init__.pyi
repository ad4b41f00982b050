from .published_weights import load_published
from .torch_files import read_state_dict
from .weights_files import load_weights
from .weights_table import PublishedFile, find_files, identify, list_kinds, read_table

__all__ = [
    "PublishedFile",
    "find_files",
    "identify",
    "list_kinds",
    "load_published",
    "load_weights",
    "read_state_dict",
    "read_table",
]
