from .decoding import decode as decode
from .input_pipeline import make_eval_dataset as make_eval_dataset
from .input_pipeline import make_train_dataset as make_train_dataset
from .mixture import Plan as Plan
from .mixture import plan_fold as plan_fold
from .mixture import read_sets as read_sets
from .record_metadata import list_records as list_records
from .record_stream import StreamOptions as StreamOptions

__all__ = [
    "Plan",
    "StreamOptions",
    "decode",
    "list_records",
    "make_eval_dataset",
    "make_train_dataset",
    "plan_fold",
    "read_sets",
]
