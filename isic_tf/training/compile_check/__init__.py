"""Compiles the programs of a training run for a TPU that is not there (`--dry_run --compile_for`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
