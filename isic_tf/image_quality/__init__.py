"""Checks of one photograph: blur, exposure, color, lesion, ruler and ink, resolution; without a network."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
