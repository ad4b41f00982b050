import numpy as np
import pandas as pd
import pytest
from harness import make_config

from isic_tf.data import mixture
from isic_tf.training import fold_setup
from tfrecord_tools import errors

ROWS = pd.DataFrame({"fold": [0, 1, 1, 4, -1, 7], "extra": [False, False, False, False, False, True]})


@pytest.mark.parametrize(
    ("text", "folds"),
    # A record in no fold and the folds of an extra set count for nothing.
    [("all", [0, 1, 4]), ("full", [None]), ("3", [3])],
)
def test_the_option_fold_names_the_folds_to_hold_out(text, folds):
    assert fold_setup.parse_fold(text, ROWS) == folds


@pytest.mark.parametrize("text", ["first", "-1", "1.5", ""])
def test_another_fold_is_refused(text):
    with pytest.raises(errors.ConfigError, match=f"expected a fold's number, 'all' or 'full' for --fold, got '{text}'"):
        fold_setup.parse_fold(text, ROWS)


def test_all_folds_of_records_without_folds_are_refused():
    with pytest.raises(errors.ConfigError, match=r"expected records in folds for --fold=all, .*tfrecord_tools\.folds"):
        fold_setup.parse_fold("all", ROWS.assign(fold=-1))


@pytest.mark.parametrize(("samples", "steps"), [([7], 1), ([8], 1), ([20, 11], 3), ([20, 12], 4)])
def test_steps_per_epoch_are_complete_batches_and_at_least_one(samples, steps):
    plan = mixture.Plan(ROWS, np.array(samples), ROWS, "")
    assert fold_setup.count_steps(plan, make_config(global_batch_size=8)) == steps


def test_files_that_options_name_are_read_as_bytes(tmp_path):
    policy = tmp_path / "policy.json"
    policy.write_text('{"flip_x": {"p": 0.5}}')
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image_name_1,image_name_2\na,b\n")
    config = make_config(augment_policy=str(policy), duplicates=str(pairs))
    assert fold_setup.policy_file(config) == str(policy)
    assert fold_setup.policy_file(make_config(augment_policy="strong")) is None
    assert fold_setup.read_named_files(config) == [pairs.read_bytes(), policy.read_bytes()]
    assert fold_setup.read_named_files(make_config()) == []
