"""One photograph, or a few of a patient, judged by a trained run: probability, interval, map and warnings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
