from .class_set import BINARY as BINARY
from .class_set import ClassSet as ClassSet
from .class_set import make_class_set as make_class_set
from .class_set import name_groups as name_groups
from .class_set import parse_target as parse_target
from .column_labels import add_labels as add_labels
from .diagnosis_classes import CLASSES as CLASSES
from .image_labels import describe as describe
from .image_labels import label as label
from .scores import mean_scores as mean_scores
from .scores import positive_logit as positive_logit
from .scores import positive_probability as positive_probability
from .scores import rescale as rescale
from .scores import settle as settle

__all__ = [
    "BINARY",
    "CLASSES",
    "ClassSet",
    "add_labels",
    "describe",
    "label",
    "make_class_set",
    "mean_scores",
    "name_groups",
    "parse_target",
    "positive_logit",
    "positive_probability",
    "rescale",
    "settle",
]
