from . import convnext as convnext
from . import efficientnet as efficientnet
from . import efficientnet_lite as efficientnet_lite
from . import efficientnet_v2 as efficientnet_v2
from . import keras_applications as keras_applications
from . import names as names
from . import user_backbones as user_backbones

__all__ = [
    "convnext",
    "efficientnet",
    "efficientnet_lite",
    "efficientnet_v2",
    "keras_applications",
    "names",
    "user_backbones",
]
