import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
from scipy import special

from isic_tf.metrics import roc
from isic_tf.patient_context import lesion_features, second_stage
from isic_tf.patient_context.second_stage import StageOptions
from isic_tf.postprocessing import calibration
from tfrecord_tools import errors

pytestmark = pytest.mark.usefixtures("few_trees")


def make_lesions(logits, patients):
    return lesion_features.gather(np.reshape(logits, (len(patients), -1)), patients, pd.DataFrame(index=patients))


@pytest.fixture(scope="module")
def data():
    """300 lesions of 60 patients, five each, and their targets, which the score tells in part."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=300)
    targets = (rng.random(300) < special.expit(2 * logits - 2)).astype(int)
    return make_lesions(logits, [f"p{number // 5}" for number in range(300)]), targets


@pytest.fixture(scope="module")
def boosted(data, few_trees):
    return second_stage.fit_stage(*data, StageOptions("boost"))


@pytest.mark.parametrize("method", ["z_score", "ratio", "rank"])
def test_relative_methods_fit_nothing(data, method):
    stage = second_stage.fit_stage(*data, StageOptions(method))
    assert (stage.method, stage.num_files, stage.patient_context) == (method, 1, True)
    assert stage.uses_embeddings is False
    assert stage.lone_calibration is None
    assert stage.model is None
    assert stage.columns[0] == "logit"


def test_lone_lesions_get_the_calibrated_score_by_hand(data, boosted):
    given, targets = data
    scores = special.expit(given.logits[:, 0])
    # Platt scaling, fitted to all lesions, those with others included.
    assert boosted.lone_calibration == calibration.fit_calibration("platt", scores, targets)
    lone = make_lesions([-1.0, 0.5, 2.0], ["x", "y", ""])
    slope, intercept = (boosted.lone_calibration[name] for name in ("slope", "intercept"))
    expected = special.expit(slope * np.array([-1.0, 0.5, 2.0]) + intercept)
    assert second_stage.apply_stage(boosted, lone) == pytest.approx(expected, abs=1e-9)


def test_lone_lesions_do_not_change_those_with_others(boosted):
    pair = make_lesions([1.0, -1.0], ["a", "a"])
    both = make_lesions([1.0, 3.0, -1.0], ["a", "b", "a"])
    found = second_stage.apply_stage(boosted, both)
    np.testing.assert_array_equal(found[[0, 2]], second_stage.apply_stage(boosted, pair))


def test_without_context_the_model_is_applied_to_all_lesions(data):
    given, targets = data
    stage = second_stage.fit_stage(given, targets, StageOptions("boost", patient_context=False))
    assert not any(name.startswith("others") for name in stage.columns)
    alone = given._replace(patients=np.arange(300))
    np.testing.assert_array_equal(second_stage.apply_stage(stage, given), second_stage.apply_stage(stage, alone))


def test_each_fold_is_predicted_by_the_others(data):
    given, targets = data
    folds = np.arange(300) // 5 % 3
    options = StageOptions("boost", seed=4)
    found = second_stage.predict_nested(given, targets, folds, options)
    rest = folds != 1
    stage = second_stage.fit_stage(second_stage._take(given, rest), targets[rest], options)
    np.testing.assert_array_equal(found[~rest], second_stage.apply_stage(stage, second_stage._take(given, ~rest)))


def test_nothing_is_nested_where_nothing_is_fitted():
    given = make_lesions(special.logit([0.2, 0.4, 0.6, 0.3]), ["a", "a", "a", "b"])
    folds = np.array([0, 1, 0, 1])
    found = second_stage.predict_nested(given, np.array([0, 1, 0, 0]), folds, StageOptions("rank"))
    assert found == pytest.approx([1 / 6, 3 / 6, 5 / 6, 1.5 / 4])


def test_rows_are_taken_with_all_that_is_known():
    embeddings = np.arange(6, dtype=np.float32).reshape(3, 1, 2)
    rows = pd.DataFrame({"age_approx": [30, 40, 50]})
    given = lesion_features.gather(np.zeros((3, 1)), ["a", "b", "c"], rows, embeddings)
    taken = second_stage._take(given, np.array([2, 0]))
    assert taken.patients.tolist() == [2, 0]
    assert taken.codes["age_approx"].tolist() == [50, 30]
    assert taken.codes.index.tolist() == [0, 1]
    assert np.array_equal(taken.embeddings, embeddings[[2, 0]])
    assert second_stage._take(given._replace(embeddings=None), np.array([0])).embeddings is None


def test_a_saved_stage_gives_the_same_to_the_bit(data, boosted, tmp_path):
    second_stage.save_stage(boosted, str(tmp_path), {"auc": 0.5})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["boost.npz", "context.json"]
    content = json.loads((tmp_path / "context.json").read_text())
    assert list(content) == ["method", "files", "looks", "patient_context", "columns", "alone", "nested"]
    assert content["nested"] == {"auc": 0.5}
    loaded = second_stage.load_stage(tmp_path)
    assert loaded.columns == boosted.columns
    np.testing.assert_array_equal(second_stage.apply_stage(loaded, data[0]), second_stage.apply_stage(boosted, data[0]))


def test_scores_and_embeddings_of_the_fit_are_needed(boosted):
    pair = make_lesions([[1.0, 1.0], [0.0, 0.0]], ["a", "a"])
    with pytest.raises(errors.ConfigError, match=r"expected 1 prediction file\(s\), as in the fit, got 2; give"):
        second_stage.apply_stage(boosted, pair)
    with pytest.raises(errors.ConfigError, match="expected embeddings, as in the fit, got none"):
        second_stage.apply_stage(boosted._replace(uses_embeddings=True), make_lesions([1.0, 0.0], ["a", "a"]))


def test_one_class_among_lesions_with_others_is_refused():
    # The malignant one has no others.
    given = make_lesions([0.0, 1.0, 2.0], ["a", "a", "b"])
    with pytest.raises(errors.IsicError, match=r"got targets \[0\] for 2 such images; check patient_id"):
        second_stage.fit_stage(given, np.array([0, 0, 1]), StageOptions("boost"))


def test_damage_is_told_from_absence(boosted, tmp_path):
    with pytest.raises(errors.IsicError, match="expected a patient-context model at .*, but the file does not exist"):
        second_stage.load_stage(tmp_path)
    second_stage.save_stage(boosted, str(tmp_path), {})
    (tmp_path / "boost.npz").write_bytes(b"half")
    with pytest.raises(errors.CorruptRecordError, match="boost.npz is not a valid boosted model"):
        second_stage.load_stage(tmp_path)


def test_options_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        StageOptions().seed = 1


def test_numeric_columns_are_standardized_by_the_fit_and_kept_with_it(tmp_path, few_trees):
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 200)
    numbers = pd.DataFrame({"area": 3.0 * targets + rng.normal(size=200), "h": rng.normal(size=200)})
    numbers.loc[::7, "h"] = np.nan
    given = make_lesions(rng.normal(size=200), [f"p{number % 20}" for number in range(200)])._replace(numbers=numbers)
    stage = second_stage.fit_stage(given, targets, StageOptions("boost"))
    expected = [[values.mean(), values.std(ddof=0)] for _, values in numbers.items()]
    assert list(stage.numbers) == ["area", "h"]
    assert np.array(list(stage.numbers.values())) == pytest.approx(np.array(expected))
    second_stage.save_stage(stage, str(tmp_path), {})
    loaded = second_stage.load_stage(tmp_path)
    assert loaded.numbers == stage.numbers
    found = second_stage.apply_stage(loaded, given)
    np.testing.assert_array_equal(found, second_stage.apply_stage(stage, given))
    assert roc.roc_auc(targets, found) > 0.95
    rows = np.arange(199, 99, -1)
    np.testing.assert_array_equal(second_stage._take(given, rows).numbers, numbers.iloc[rows])
    with pytest.raises(errors.ConfigError, match="expected the numeric columns area, h, as in the fit, got none of h"):
        second_stage.apply_stage(stage, given._replace(numbers=numbers[["area"]]))
