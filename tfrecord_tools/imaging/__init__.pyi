from .codec import decode as decode
from .codec import encode as encode
from .image_files import find_images as find_images
from .image_files import prepare_image as prepare_image
from .preprocessing import find_content as find_content
from .preprocessing import resize_to_square as resize_to_square
from .preprocessing import shades_of_gray as shades_of_gray

__all__ = [
    "decode",
    "encode",
    "find_content",
    "find_images",
    "prepare_image",
    "resize_to_square",
    "shades_of_gray",
]
