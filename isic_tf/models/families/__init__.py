"""Image encoders, one module for each family of networks: their names, how they are built, and their normalization."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
