from .checks import check_compilation as check_compilation
from .reports import CompileReport as CompileReport

__all__ = [
    "CompileReport",
    "check_compilation",
]
