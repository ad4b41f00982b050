from .config import TablesConfig as TablesConfig
from .table_files import normalize_tables as normalize_tables
from .table_files import read_tables as read_tables
from .table_format import TableFormat as TableFormat
from .table_format import list_published as list_published
from .table_format import read_format as read_format

__all__ = [
    "TableFormat",
    "TablesConfig",
    "list_published",
    "normalize_tables",
    "read_format",
    "read_tables",
]
