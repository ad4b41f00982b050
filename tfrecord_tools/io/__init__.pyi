from .csv_tables import read_table as read_table
from .duplicate_pairs import find_linked_names as find_linked_names
from .duplicate_pairs import read_pairs as read_pairs
from .manifest import read_manifest as read_manifest
from .record_index import match_shards as match_shards
from .record_index import read_index as read_index

__all__ = [
    "find_linked_names",
    "match_shards",
    "read_index",
    "read_manifest",
    "read_pairs",
    "read_table",
]
