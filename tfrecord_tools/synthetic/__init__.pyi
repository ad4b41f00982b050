from .dataset import SynthConfig as SynthConfig, make_dataset as make_dataset

__all__ = [
    "SynthConfig",
    "make_dataset",
]
