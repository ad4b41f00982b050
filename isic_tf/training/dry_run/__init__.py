"""Estimates the time and memory of a training by a few steps of it (`--dry_run`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
