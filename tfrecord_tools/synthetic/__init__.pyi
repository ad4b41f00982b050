from .config import SynthConfig as SynthConfig
from .dataset import make_dataset as make_dataset
from .lesion_renderer import draw_lesion as draw_lesion
from .lesion_renderer import draw_patient_appearance as draw_patient_appearance

__all__ = [
    "SynthConfig",
    "draw_lesion",
    "draw_patient_appearance",
    "make_dataset",
]
