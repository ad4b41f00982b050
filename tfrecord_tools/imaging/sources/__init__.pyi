from .addresses import is_container as is_container
from .addresses import split as split

__all__ = ["is_container", "split"]
