"""Validates a classifier on the held-out images."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tensorflow as tf

from isic_tf.artifacts import class_columns
from isic_tf.data import clinical_metadata, input_pipeline, record_loading
from isic_tf.inference import predictor
from tfrecord_tools import errors

if TYPE_CHECKING:
    from isic_tf.training.config import TrainConfig


def _go_on() -> None:
    pass


def validate(
    predict: predictor.Predictor,
    held_out: pd.DataFrame,
    config: "TrainConfig",
    images: record_loading.ImageReader | None = None,
    pause: Callable[[], None] = _go_on,
) -> pd.DataFrame:
    """Predicts the held-out images.

    Args:
        predict: See `patient_bag_predictor.make_predictor`.
        held_out: Rows of the held-out images, see `mixture.read_sets`; may be empty.
        config: The configuration of the run.
        images: Reader of decoded images, see `image_cache.open_images`; None to decode the records.
        pause: Called after each batch.

    Returns:
        The rows with a column `prediction`, float 0 to 1, and those of `class_columns` where there are classes.

    Raises:
        IsicError: Images are missing from the shards.
        DivergenceError: Predictions are NaN.
    """
    if held_out.empty:
        return held_out.assign(prediction=[])
    return collect_predictions(predict(make_dataset(held_out, config, images)), held_out, config, pause)


def make_dataset(
    rows: pd.DataFrame, config: "TrainConfig", images: record_loading.ImageReader | None = None
) -> tf.data.Dataset:
    """Makes the evaluation dataset of some images of a run.

    Args:
        rows: Rows of the images, see `mixture.read_sets`.
        config: The configuration of the run.
        images: See `validate`.

    Returns:
        See `input_pipeline.make_eval_dataset`.
    """
    return input_pipeline.make_eval_dataset(
        rows,
        image_size=config.image_size,
        # Not more at once than training holds on the devices.
        batch_size=config.global_batch_size // config.gradient_accumulation_steps,
        threads=config.threads,
        images=images,
        metadata=clinical_metadata.encode(rows, config.metadata) if config.metadata else None,
    )


def collect_predictions(
    batches: Iterable[tuple[Any, ...]],
    held_out: pd.DataFrame,
    config: "TrainConfig",
    pause: Callable[[], None] = _go_on,
) -> pd.DataFrame:
    """Joins the predictions of the held-out images to their rows.

    Args:
        batches: Names and probabilities or scores of each batch, see `predictor.make_predictor`.
        held_out: See `validate`; one image or more.
        config: The configuration of the run.
        pause: Called after each batch.

    Returns:
        See `validate`.

    Raises:
        IsicError: Images have no prediction, since the shards lack them.
        DivergenceError: Predictions are NaN.
    """
    predictions: dict[str, np.ndarray] = {}
    for names, scores in batches:
        predictions.update(zip(names, scores, strict=True))
        pause()
    missing = [name for name in held_out["image_name"] if name not in predictions]
    if missing:
        raise errors.IsicError(
            f"the shards lack {len(missing)} images that the index lists (first: {missing[0]}); index the set again"
        )
    scores = np.stack([predictions[name] for name in held_out["image_name"]]).reshape(len(held_out), -1)
    columns = ["prediction", *class_columns.list_columns(config.class_set.names)]
    table = held_out.assign(**dict(zip(columns, scores.T, strict=True)))
    invalid = ~table["prediction"].between(0, 1)
    if invalid.any():
        raise errors.DivergenceError(
            f"validation predictions contain NaN ({invalid.sum()} of {len(table)}, first: "
            f"{table.loc[invalid, 'image_name'].iloc[0]}); train again with a lower --learning_rate"
        )
    return table


def is_past_best(history: Sequence[Mapping[str, Any]], patience: int) -> bool:
    """Returns whether the epoch with the best ROC AUC is `patience` epochs ago.

    Args:
        history: See `run_directory.read_history`.
        patience: Number of epochs; 0 for never.

    Returns:
        False also where no epoch has a ROC AUC.
    """
    aucs = [row["auc"] for row in history if "auc" in row]
    if not aucs or patience == 0:
        return False
    epochs_since_best = len(aucs) - 1 - aucs.index(max(aucs))
    return epochs_since_best >= patience


def average_batch_statistics(classifier: tf.keras.Model) -> None:
    """Sets the moving batch statistics of every replica to their mean over the replicas.

    They drift apart, and a saved model holds their mean. Without this, the metrics would be those of another model than
    the one that is kept.

    Args:
        classifier: The model in training.
    """
    for variable in classifier.non_trainable_variables:
        variable.assign(variable.read_value())
