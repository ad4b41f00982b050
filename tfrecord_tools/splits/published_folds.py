"""Published fold assignments of the SIIM-ISIC training set."""

import numpy as np
import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.splits import fold_files
from tfrecord_tools.splits.config import PRESETS


def preset_folds(shards: pd.Series, preset: str) -> np.ndarray:
    """Returns published folds over Deotte's 15 shards.

    Args:
        shards: Text `[n]`, the column `tfrecord` of Deotte's tables: 0 to 14, or -1 or a blank for no fold.
        preset: `deotte15`, one fold for each shard; or `winners5`, three shards for each of the five folds of the
            competition's winners (Ha, Liu and Liu, 2020, arXiv:2010.05351).

    Returns:
        int64 `[n]`, the fold from 0; -1 for no fold.

    Raises:
        IsicError: A shard is not a whole number from -1 to 14.

    Examples:
        >>> preset_folds(pd.Series(["0", "5", "11", ""]), "winners5").tolist()
        [0, 1, 0, -1]
    """
    codes = fold_files.parse_folds("the column tfrecord", shards)
    if codes.max() > 14:
        raise errors.IsicError(
            f"the column tfrecord must hold shards from 0 to 14, or -1 for none, got {codes.max()}; use Deotte's tables"
        )
    fold_of_shard = {shard: fold for fold, members in enumerate(PRESETS[preset]) for shard in members}
    fold_of_shard[schema.UNKNOWN] = schema.UNKNOWN
    return pd.Series(codes).map(fold_of_shard).to_numpy()
