"""Decodes BMP, TIFF and WebP files, within the limits of every image."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
