from .config import ExplainConfig as ExplainConfig
from .config import ShowConfig as ShowConfig
from .contact_sheet import show as show
from .grad_cam import compute_grad_cam as compute_grad_cam
from .grad_cam_sheet import explain as explain
from .image_sheet import CaptionedImage as CaptionedImage
from .image_sheet import draw_sheet as draw_sheet

__all__ = [
    "CaptionedImage",
    "ExplainConfig",
    "ShowConfig",
    "compute_grad_cam",
    "draw_sheet",
    "explain",
    "show",
]
