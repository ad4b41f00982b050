from .contact_sheet import ShowConfig as ShowConfig, show as show
from .grad_cam import compute_grad_cam as compute_grad_cam
from .grad_cam_sheet import ExplainConfig as ExplainConfig, explain as explain

__all__ = [
    "ExplainConfig",
    "ShowConfig",
    "compute_grad_cam",
    "explain",
    "show",
]
