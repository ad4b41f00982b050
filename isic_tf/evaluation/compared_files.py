"""Checks the prediction files of an evaluation: their options, and that they are of the same images."""

import os
from collections.abc import Sequence

import pandas as pd

from isic_tf.evaluation import joined_tables
from tfrecord_tools import errors


def name_sources(predictions: Sequence[joined_tables.TableSource]) -> list[str]:
    """Names each prediction table: a file by its path, a DataFrame `predictions`, `predictions 2` and so on."""
    names = []
    for number, source in enumerate(predictions, start=1):
        if isinstance(source, pd.DataFrame):
            names.append("predictions" if number == 1 else f"predictions {number}")
        else:
            names.append(os.fspath(source))
    return names


def check_options(predictions: Sequence[str], threshold: float | None, specificity: float | None) -> None:
    """Checks that the options of an evaluation fit together; see `evaluate`.

    Raises:
        ConfigError: There are no predictions, both a threshold and a specificity, or one that is not from 0 to 1.
    """
    if not predictions:
        raise errors.ConfigError("expected one or more prediction files (--predictions), got none")
    if threshold is not None and specificity is not None:
        raise errors.ConfigError("threshold and specificity are mutually exclusive, got both; give one")
    for name, value in (("threshold", threshold), ("specificity", specificity)):
        if value is not None and not 0 <= value <= 1:
            raise errors.ConfigError(f"expected a {name} from 0 to 1, got {value}; give 95 % as 0.95")


def refuse_other_images(paths: Sequence[str], tables: Sequence[pd.DataFrame]) -> None:
    """Refuses prediction files of different images: their difference would be that of the images.

    Args:
        paths: Names for the message.
        tables: DataFrames in order of `image_name`.

    Raises:
        IsicError: A table has other names than the first.
    """
    first = pd.Index(tables[0]["image_name"])
    for path, table in zip(paths[1:], tables[1:], strict=True):
        names = pd.Index(table["image_name"])
        only = {paths[0]: first[~first.isin(names)], path: names[~names.isin(first)]}
        texts = [f"{len(own)} only in {name} ({', '.join(own[:3])})" for name, own in only.items() if len(own)]
        if texts:
            raise errors.IsicError(
                f"files can be compared on the same images only: {'; '.join(texts)}; evaluate one at a time"
            )
