from .raster_files import decode as decode

__all__ = ["decode"]
