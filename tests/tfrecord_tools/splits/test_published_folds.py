import pandas as pd
import pytest

from tfrecord_tools.splits import config, published_folds


@pytest.mark.parametrize(("preset", "num_folds"), [("deotte15", 15), ("winners5", 5)])
def test_each_of_the_15_shards_is_in_one_fold_of_a_preset(preset, num_folds):
    members = config.PRESETS[preset]
    assert len(members) == num_folds
    assert sorted(shard for shards in members for shard in shards) == list(range(15))


def test_folds_of_the_winners_by_shard():
    shards = pd.Series([str(shard) for shard in range(15)])
    expected = [0, 2, 2, 4, 3, 1, 4, 3, 1, 0, 3, 0, 4, 1, 2]
    assert published_folds.preset_folds(shards, "winners5").tolist() == expected
    assert published_folds.preset_folds(shards, "deotte15").tolist() == list(range(15))


def test_a_shard_that_is_not_a_number_is_refused():
    with pytest.raises(ValueError, match="the column tfrecord must hold whole numbers from 0, or .*; got 'x'; correct"):
        published_folds.preset_folds(pd.Series(["0", "x"]), "deotte15")


def test_images_without_a_shard_have_no_fold_and_other_shards_are_refused():
    assert published_folds.preset_folds(pd.Series(["-1", "14", "", "9.0"]), "winners5").tolist() == [-1, 2, -1, 0]
    with pytest.raises(ValueError, match="shards from 0 to 14, or -1 for none, got 15; use Deotte's tables"):
        published_folds.preset_folds(pd.Series(["0", "15"]), "deotte15")
