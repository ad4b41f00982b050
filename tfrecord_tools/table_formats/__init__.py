"""Recognizes the published tables of dermoscopic images, and gives them the columns and values of this package."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
