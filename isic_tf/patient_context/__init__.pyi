from .fit_context import ContextConfig as ContextConfig, run_context as run_context

__all__ = [
    "ContextConfig",
    "run_context",
]
