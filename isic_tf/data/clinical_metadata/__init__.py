"""Metadata that a network receives besides the image: age, sex and site, and numbers of the user's own table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
