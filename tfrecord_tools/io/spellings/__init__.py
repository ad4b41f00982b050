"""Says in logs which spellings of names and identifiers were taken for one."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
