"""Patient-context models, which use a patient's other lesions to predict each lesion."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
