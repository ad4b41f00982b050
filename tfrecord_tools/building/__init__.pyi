from .build_config import BuildConfig as BuildConfig
from .build_config import IndexConfig as IndexConfig
from .record_set import RecordSet as RecordSet
from .record_set_builder import build_record_set as build_record_set
from .record_set_builder import write_dicom_tags as write_dicom_tags
from .record_set_indexer import index_record_set as index_record_set

__all__ = [
    "BuildConfig",
    "IndexConfig",
    "RecordSet",
    "build_record_set",
    "index_record_set",
    "write_dicom_tags",
]
