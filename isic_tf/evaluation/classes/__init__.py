"""Evaluation of predictions of several classes: their true classes, and the text of the figures."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
