from .logit import logits as logits
from .paired_auc_test import compare as compare
from .roc import partial_roc_auc as partial_roc_auc
from .roc import roc_auc as roc_auc
from .roc import roc_auc_interval as roc_auc_interval
from .summaries import summarize as summarize

__all__ = [
    "compare",
    "logits",
    "partial_roc_auc",
    "roc_auc",
    "roc_auc_interval",
    "summarize",
]
