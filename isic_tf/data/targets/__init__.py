"""What a network is trained to predict: malignant or not, a diagnosis, or classes of the user's own table."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
