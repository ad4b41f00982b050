from .codec import decode as decode, encode as encode
from .image_files import find_images as find_images, prepare_image as prepare_image

__all__ = [
    "decode",
    "encode",
    "find_images",
    "prepare_image",
]
