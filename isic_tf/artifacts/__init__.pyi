from .embedding_archive import read_embeddings as read_embeddings
from .prediction_files import read_prediction_file as read_prediction_file, write_predictions as write_predictions
from .run import Run as Run

__all__ = [
    "Run",
    "read_embeddings",
    "read_prediction_file",
    "write_predictions",
]
