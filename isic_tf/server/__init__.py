"""An HTTP server of a trained run, with a page: needs the extra `serve`."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
