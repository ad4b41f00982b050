from .config import StrategyConfig as StrategyConfig
from .strategies import choose_strategy as choose_strategy

__all__ = [
    "StrategyConfig",
    "choose_strategy",
]
