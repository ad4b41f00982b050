from .config import ServeConfig as ServeConfig
from .serving import serve as serve

__all__ = [
    "ServeConfig",
    "serve",
]
