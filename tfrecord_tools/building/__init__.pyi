from .record_set_builder import BuildConfig as BuildConfig, build_record_set as build_record_set
from .record_set_indexer import IndexConfig as IndexConfig, index_record_set as index_record_set

__all__ = [
    "BuildConfig",
    "IndexConfig",
    "build_record_set",
    "index_record_set",
]
