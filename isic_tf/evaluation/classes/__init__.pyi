from .class_predictions import convert_source as convert_source
from .class_predictions import select_predictions as select_predictions
from .class_truth import ClassTruth as ClassTruth
from .class_truth import find as find
from .predicted_classes import list_classes as list_classes

__all__ = [
    "ClassTruth",
    "convert_source",
    "find",
    "list_classes",
    "select_predictions",
]
