"""The linear probe (`--freeze_epochs=all`): features of the frozen backbone, computed once, and a head on them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
