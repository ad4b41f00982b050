"""The command for weights: which are published, what a file is, and files of other libraries for `--weights`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
