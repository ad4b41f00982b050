from .checks import Finding as Finding
from .checks import check_image as check_image

__all__ = ["Finding", "check_image"]
