import functools

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from scipy import special

from isic_tf.metrics import logit
from isic_tf.patient_context import gradient_boosting, lesion_features, second_stage
from isic_tf.patient_context.second_stage import StageOptions
from isic_tf.patient_context.set_model_training import SetModelOptions
from isic_tf.serving.patients import graph_context
from isic_tf.serving.patients.graph_lesions import PatientLesions
from tfrecord_tools import errors

SIZES = [1, 2, 2, 3, 5, 1, 12, 30]
LOOKS = 4


def draw(seed, sizes):
    """Draws lesions of patients of these sizes, with unknown metadata and numbers, and their targets."""
    rng = np.random.default_rng(seed)
    count = sum(sizes)
    rows = pd.DataFrame({"age_approx": rng.choice([30, 45, -1], count), "sex": rng.choice([0, 1, -1], count)})
    rows["anatom_site_general_challenge"] = rng.choice([0, 3, -1], count)
    numbers = pd.DataFrame({"area": np.where(rng.random(count) < 0.2, np.nan, rng.normal(5, 2, count).round(1))})
    scores = special.expit(rng.normal(size=count)).astype(np.float32)
    looks = rng.normal(size=(count, 2, LOOKS)).astype(np.float32)
    patients = np.repeat(np.arange(len(sizes)), sizes)
    given = lesion_features.gather(logit.logits(scores)[:, None], patients, rows, looks, numbers)
    return scores, given, (rng.random(count) < scores).astype(int)


def fit(method, **options):
    _, given, targets = draw(0, [1, 2, 5, 9] * 15)
    if not options.get("patient_context", True):
        given = given._replace(embeddings=None)
    return second_stage.fit_stage(given, targets, StageOptions(method, **options))


@pytest.fixture(scope="module")
def stages(few_trees):
    """Stages by name; the set model's weights are random, since those of one step correct nothing."""
    with pytest.MonkeyPatch.context() as patch:
        quick = functools.partial(SetModelOptions, members=2, steps=1, units=8, heads=2, dropout=0.0)
        patch.setattr(second_stage, "SetModelOptions", quick)
        fitted = fit("set")
    rng = np.random.default_rng(0)
    members = [[0.5 * rng.normal(size=weight.shape) for weight in member] for member in fitted.model.members]
    return {
        "set": fitted._replace(model=fitted.model._replace(share=0.7, members=members)),
        "boost": fit("boost"),
        "no context": fit("boost", patient_context=False),
        **{method: fit(method) for method in ("z_score", "ratio", "rank")},
    }


def judge_patients(stage, scores, given):
    """Judges patient by patient, with one graph."""
    context = graph_context.PatientContext(stage)
    names = lesion_features.COLUMNS
    codes = [tf.TensorSpec([None], tf.int64)] * len(names)
    others = [*codes, tf.TensorSpec([None], tf.float64), tf.TensorSpec([None, 2, LOOKS], tf.float32)]

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32), *others])
    def judge(scores, *others):
        *codes, area, looks = others
        lesions = PatientLesions(tf.zeros([0], tf.float64), dict(zip(names, codes, strict=True)), {"area": area}, looks)
        return context.judge(scores, lesions)

    found = np.zeros(len(scores), np.float32)
    for patient in np.unique(given.patients):
        own = given.patients == patient
        codes = [given.codes[name].to_numpy()[own] for name in names]
        found[own] = judge(scores[own], *codes, given.numbers["area"].to_numpy()[own], given.embeddings[own]).numpy()
    return found


@pytest.mark.parametrize("name", ["set", "boost", "no context", "z_score", "ratio", "rank"])
def test_new_patients_are_judged_as_by_the_stage(stages, name):
    scores, given, _ = draw(1, SIZES)
    stage = stages[name]
    expected = second_stage.apply_stage(stage, given)
    found = judge_patients(stage, scores, given)
    assert found.std() > 0.05
    is_alone = lesion_features.is_alone(given)
    if stage.lone_calibration is None:
        # Relative to no other image; the stage compares it with those of all patients that it is given.
        assert found[is_alone].tolist() == [0.5, 0.5]
        expected[is_alone] = 0.5
    np.testing.assert_allclose(found, expected, atol=1e-6)
    if name in ("set", "boost"):
        calibrated = special.expit(
            stage.lone_calibration["slope"] * given.logits[:, 0] + stage.lone_calibration["intercept"]
        )
        np.testing.assert_allclose(found[is_alone], calibrated[is_alone], atol=1e-6)
        assert np.abs(found - calibrated)[~is_alone].max() > 0.01


def test_no_image_is_no_patient(stages):
    empty = tf.zeros([0], tf.float64)
    codes = dict.fromkeys(lesion_features.COLUMNS, tf.zeros([0], tf.int64))
    for stage in stages.values():
        lesions = PatientLesions(empty, codes, {"area": empty}, tf.zeros([0, 2, LOOKS]))
        assert graph_context.PatientContext(stage).judge(tf.zeros([0]), lesions).shape == (0,)


@pytest.mark.parametrize("method", ["rank", "ratio", "z_score"])
def test_relations_with_ties_are_those_of_the_stage(method):
    logits = [0.5, 0.5, -1.0, 2.0, -1.0, -1.0]
    for own in (logits, [1.0, 1.0]):
        given = lesion_features.gather(np.reshape(own, (-1, 1)), [1] * len(own), pd.DataFrame(index=range(len(own))))
        stage = second_stage.Stage(method, 1, False, True, [], None, None)
        found = graph_context.relate(method, tf.constant(own, tf.float64)).numpy()
        assert found == pytest.approx(second_stage.apply_stage(stage, given), abs=1e-12)
    # 1 to 3 and 4 and 5 are shared.
    assert graph_context.relate("rank", tf.constant(logits, tf.float64)).numpy() * 6 == pytest.approx(
        [4, 4, 1.5, 5.5, 1.5, 1.5]
    )


def test_trees_are_followed_to_the_leaf_by_hand():
    # Column 1 up to 2: column 0 up to -1: 10, else 20; above: 30. A second tree is a leaf alone.
    model = gradient_boosting.Boost(
        column=np.array([1, 0, -7, 0, 0, 0]),
        threshold=np.array([2.0, -1.0, 0, 0, 0, 0]),
        left=np.array([1, 3, 2, 3, 4, 5]),
        right=np.array([2, 4, 2, 3, 4, 5]),
        value=np.array([0, 0, 30.0, 10, 20, 0.5]),
        roots=np.array([0, 5]),
        coefficients=np.array([0.0, 100.0]),
        intercept=np.array(1.0),
    )
    # The threshold itself goes left, the next number does not.
    rows = np.array([[-1.0, 2.0], [np.nextafter(-1.0, 0), 2.0], [-5.0, np.nextafter(2.0, 3)], [0.0, 0.0]])
    found = graph_context.apply_boost(model, tf.constant(rows)).numpy()
    assert found == pytest.approx([211.5, 221.5, 231.5, 21.5])


def test_a_model_of_features_that_a_graph_lacks_is_refused(stages):
    for stage in stages.values():
        graph_context.check_stage(stage)
    columns = [*stages["boost"].columns, "hairs"]
    with pytest.raises(errors.ConfigError, match="features that can be exported, but it uses hairs; fit it again with"):
        graph_context.check_stage(stages["boost"]._replace(columns=columns))
