from .config import StrategyConfig as StrategyConfig
from .strategies import choose_strategy as choose_strategy
from .strategies import describe_strategy as describe_strategy

__all__ = [
    "StrategyConfig",
    "choose_strategy",
    "describe_strategy",
]
