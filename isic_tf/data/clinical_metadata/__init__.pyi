from .column_values import add_values as add_values
from .column_values import parse_columns as parse_columns
from .column_values import select_values as select_values
from .fields import FIELDS as FIELDS
from .fields import check_known as check_known
from .fields import columns as columns
from .fields import encode as encode
from .fields import log_unknown as log_unknown
from .fields import parse as parse
from .fields import width as width
from .numeric_columns import Standards as Standards
from .numeric_columns import check_table as check_table
from .numeric_columns import compute_standards as compute_standards
from .numeric_columns import describe_standards as describe_standards
from .numeric_columns import parse_numeric as parse_numeric

__all__ = [
    "FIELDS",
    "Standards",
    "add_values",
    "check_known",
    "check_table",
    "columns",
    "compute_standards",
    "describe_standards",
    "encode",
    "log_unknown",
    "parse",
    "parse_columns",
    "parse_numeric",
    "select_values",
    "width",
]
