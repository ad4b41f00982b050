from .unlike_images import assess as assess

__all__ = [
    "assess",
]
