from .csv_tables import read_table as read_table
from .record_index import match_shards as match_shards, read_index as read_index

__all__ = [
    "match_shards",
    "read_index",
    "read_table",
]
