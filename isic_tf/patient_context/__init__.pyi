from .config import ContextConfig as ContextConfig
from .fit_context import apply_context_model as apply_context_model
from .fit_context import evaluate_context_model as evaluate_context_model
from .fit_context import fit_context_model as fit_context_model
from .second_stage import Stage as Stage
from .second_stage import load_stage as load_stage
from .second_stage import save_stage as save_stage

__all__ = [
    "ContextConfig",
    "Stage",
    "apply_context_model",
    "evaluate_context_model",
    "fit_context_model",
    "load_stage",
    "save_stage",
]
