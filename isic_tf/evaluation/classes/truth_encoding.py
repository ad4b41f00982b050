"""Encodes the true classes of images as 0 and 1, and settles images whose class is not known."""

import logging

import numpy as np
import pandas as pd

from isic_tf.data.targets import class_set
from isic_tf.evaluation import label_columns
from tfrecord_tools import errors
from tfrecord_tools.table_formats import raw_table

_LOG = logging.getLogger(__name__)

_WEIGHT = "score_weight"
# The one image of the test set of 2018 that the challenge's scorer leaves out.
_UNSCORED = ("ISIC_0035068",)
_FLAGS = {"0": 0, "1": 1, "0.0": 0, "1.0": 1}
_MOST_LISTED = 10


def encode_column(texts: pd.Series, classes: class_set.ClassSet) -> tuple[np.ndarray, pd.Series]:
    """Encodes a column of classes.

    Args:
        texts: Names of classes in any case of letters, `[n]`.
        classes: The classes.

    Returns:
        0 or 1, int64 `[n, c]`; and what is wrong with each text, "" where nothing is.

    Examples:
        >>> truth, problems = encode_column(pd.Series(["mel", "", "x"]), class_set.ClassSet(("MEL", "NV"), ("MEL",)))
        >>> truth.tolist(), problems.tolist()
        ([[1, 0], [0, 0], [0, 0]], ['', 'blank', "'x'"])
    """
    places = {name.casefold(): place for place, name in enumerate(classes.names)}
    codes = texts.map({text: places.get(text.casefold(), -1) for text in texts.unique()}).to_numpy(np.int64)
    truth = (codes[:, None] == np.arange(len(classes.names))).astype(np.int64)
    problems = texts.map({text: repr(text) if text else "blank" for text in texts.unique()})
    return truth, problems.where(codes < 0, "")


def encode_flags(texts: pd.DataFrame, classes: class_set.ClassSet) -> tuple[np.ndarray, pd.Series]:
    """Encodes columns of 0 and 1.

    Args:
        texts: DataFrame of text with a column for each class; others are not read.
        classes: The classes; without `multi_label`, an image must have exactly one.

    Returns:
        0 or 1, int64 `[n, c]`; and what is wrong with each row, "" where nothing is.

    Examples:
        >>> texts = pd.DataFrame({"MEL": ["1", "0.0", "1"], "NV": ["0", "0", "?"]})
        >>> truth, problems = encode_flags(texts, class_set.ClassSet(("MEL", "NV"), ("MEL",)))
        >>> truth.tolist(), problems.tolist()
        ([[1, 0], [0, 0], [1, 0]], ['', 'none of the classes', "NV='?'"])
    """
    flags = {text: _FLAGS.get(text, -1) for name in texts for text in texts[name].unique()}
    truth = np.stack([texts[name].map(flags).to_numpy(np.int64) for name in classes.names], axis=1)
    problems = pd.Series("", texts.index, dtype=object)
    if not classes.multi_label:
        problems[truth.sum(axis=1) > 1] = "several classes"
        problems[truth.sum(axis=1) == 0] = "none of the classes"
    for place, name in enumerate(classes.names):
        wrong = truth[:, place] < 0
        problems[wrong] = name + "=" + texts[name][wrong].map(lambda text: repr(text) if text else "blank")
    return np.maximum(truth, 0), problems


def find_scored(table: raw_table.RawTable, base: pd.DataFrame) -> np.ndarray:
    """Finds the images that a challenge scores: those with a `score_weight` of 1, where the table has one.

    Args:
        table: Table of the true classes.
        base: DataFrame of n images, see `label_columns.read_texts`.

    Returns:
        bool `[n]`.

    Raises:
        IsicError: A weight is neither 0 nor 1.
    """
    is_scored = ~base["image_name"].isin(_UNSCORED).to_numpy()
    if table.has(_WEIGHT):
        weights = label_columns.read_texts(table, [_WEIGHT], base)[_WEIGHT]
        codes = weights.map({text: _FLAGS.get(text, -1) for text in weights.unique()}).to_numpy(np.int64)
        if (codes < 0).any():
            row = int((codes < 0).argmax())
            raise errors.IsicError(
                f"{table.path}: expected {_WEIGHT} to be 0 or 1, got {weights.iloc[row]!r} for "
                f"{base['image_name'].iloc[row]}; remove the column to evaluate all images alike"
            )
        is_scored &= codes == 1
    if not is_scored.all():
        _LOG.warning(f"note: {(~is_scored).sum()} images are left out, since the challenge does not score them")
    return is_scored


def settle(
    problems: pd.Series, names: pd.Series, path: str, classes: class_set.ClassSet, allow_missing: bool
) -> np.ndarray:
    """Refuses images whose class is not known or, where the user allows it, logs that they are left out.

    Args:
        problems: What is wrong with each image, `[n]`, "" where nothing is.
        names: Image names, `[n]`.
        path: Name of the table in messages.
        classes: The classes.
        allow_missing: Whether images may be left out.

    Returns:
        Which images are kept, bool `[n]`.

    Raises:
        IsicError: There is such an image and it may not be left out, or none would be left.
    """
    is_wrong = (problems != "").to_numpy()
    if not is_wrong.any():
        return ~is_wrong
    counts = problems[is_wrong].value_counts()
    listed = [f"{count} {text}" for text, count in counts.items()][:_MOST_LISTED]
    more = f" and {len(counts) - _MOST_LISTED} other values" if len(counts) > _MOST_LISTED else ""
    text = f"{', '.join(listed)}{more} (first: {names.to_numpy()[is_wrong][0]})"
    wanted = "0 or 1 for each of" if classes.multi_label else "one of"
    if not allow_missing:
        raise errors.IsicError(
            f"{path}: expected {wanted} the classes {', '.join(classes.names)} for every image, got {text}; correct "
            "these rows, or go on without them with --allow_missing"
        )
    if is_wrong.all():
        raise errors.IsicError(f"{path}: no image has {wanted} the classes {', '.join(classes.names)}, but {text}")
    _LOG.warning(f"note: {path}: {is_wrong.sum()} images have none of the classes and are left out: {text}")
    return ~is_wrong
