"""Finds image files in directories, zip archives and HDF5 files, and reads those inside of containers."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
