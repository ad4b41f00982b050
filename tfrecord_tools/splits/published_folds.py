"""Published fold assignments."""

import pandas as pd

from tfrecord_tools import errors, schema
from tfrecord_tools.splits import fold_audit

# Folds that were published, each of some of Deotte's 15 shards: his own, and those of the competition's winners.
PRESETS = {
    "deotte15": tuple((shard,) for shard in range(15)),
    "winners5": ((0, 9, 11), (5, 8, 13), (1, 2, 14), (4, 7, 10), (3, 6, 12)),
}


def preset_folds(shards, preset):
    """Gives the folds that others published over Deotte's 15 shards.

    Args:
        shards: Series of text, `tfrecord` of Deotte's tables: 0 to 14; -1 or a blank is in no fold.
        preset: `deotte15`, a fold for each shard; or `winners5`, three shards for each of the winners' five folds.

    Returns:
        int64 `[n]`, -1 for none.

    Raises:
        IsicError: A shard is none of the 15.
    """
    codes = fold_audit.parse("the column tfrecord", shards)
    if codes.max() > 14:
        raise errors.IsicError(f"the column tfrecord must hold shards from 0 to 14, or -1 for none, got {codes.max()}")
    folds = {shard: fold for fold, members in enumerate(PRESETS[preset]) for shard in members}
    return pd.Series(codes).map(folds | {schema.UNKNOWN: schema.UNKNOWN}).to_numpy()
