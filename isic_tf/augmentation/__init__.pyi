from .augmenter import make_augment as make_augment
from .policies import read_policy as read_policy
from .presets import PRESETS as PRESETS

__all__ = [
    "PRESETS",
    "make_augment",
    "read_policy",
]
