from .paired_auc_test import compare as compare
from .roc import partial_roc_auc as partial_roc_auc, roc_auc as roc_auc, roc_auc_interval as roc_auc_interval
from .summaries import summarize as summarize

__all__ = [
    "compare",
    "partial_roc_auc",
    "roc_auc",
    "roc_auc_interval",
    "summarize",
]
