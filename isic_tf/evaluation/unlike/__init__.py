"""Evaluation of the column `unlike`: which images are flagged, and what leaving them out would change."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
