from .embedding_archive import read_embeddings as read_embeddings
from .prediction_files import read_prediction_file as read_prediction_file
from .prediction_files import write_predictions as write_predictions
from .run import Run as Run
from .submission_format import SubmissionConfig as SubmissionConfig
from .submission_format import validate_submission as validate_submission

__all__ = [
    "Run",
    "SubmissionConfig",
    "read_embeddings",
    "read_prediction_file",
    "validate_submission",
    "write_predictions",
]
