import shutil

import numpy as np
import pandas as pd
import pytest

from isic_tf.data import photographs
from isic_tf.diagnosis import graph_cache, judge
from isic_tf.diagnosis.config import JudgeConfig
from isic_tf.diagnosis.diagnose_images import describe
from isic_tf.patient_context import second_stage
from tfrecord_tools import errors

pytestmark = pytest.mark.usefixtures("small_backbone")
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3)).astype(np.uint8)
ROWS = pd.DataFrame({"image_name": ["a", "b", "c"], "patient_id": ["p", "p", ""]})


def conclude(found, results, warnings=((), (), ()), **options):
    return found.conclude(ROWS, results, warnings, **options)


def test_a_run_is_loaded_once_and_judges_any_number_of_images(run, monkeypatch):
    found = judge.Judge(JudgeConfig(workdir=str(run)))
    results = found.compute(IMAGES, None, [""] * 3)
    monkeypatch.setattr(judge.fold_networks, "FoldNetworks", None)
    for place in range(3):
        alone = found.compute(IMAGES[place : place + 1], None, [""])
        np.testing.assert_allclose(alone.fold_scores, results.fold_scores[place : place + 1], rtol=1e-5)
    first, second, _ = conclude(found, results, (["dark"], [], []))
    assert first.warnings == ("dark",)
    assert second.image == "b"
    np.testing.assert_allclose([first.probability, *first.interval], found.calibrate(results.fold_scores)[0])
    rare = conclude(found, results, prevalence=0.001)
    assert all(one.probability < usual.probability for one, usual in zip(rare, (first, second), strict=False))
    assert not found.has_patient_context
    assert first.context_probability is None


def list_graphs(tmp_path):
    return list((tmp_path / "keras" / "models" / "isic_tf_graphs").iterdir())


def compute(run, **options):
    return judge.Judge(JudgeConfig(workdir=str(run), **options)).compute(IMAGES, None, [""] * 3)


def test_a_second_start_builds_no_network_and_finds_the_same(run, tmp_path, monkeypatch):
    built = compute(run)
    assert len(list_graphs(tmp_path)) == 1
    monkeypatch.setattr(judge.fold_networks, "FoldNetworks", None)
    found = judge.Judge(JudgeConfig(workdir=str(run)))
    found.prepare()
    for one, other in zip(found.compute(IMAGES, None, [""] * 3), built, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_damaged_graph_is_made_again(run, tmp_path):
    built = compute(run)
    (graph,) = list_graphs(tmp_path)
    graph.write_bytes(graph.read_bytes()[:-1])
    np.testing.assert_array_equal(compute(run).fold_scores, built.fold_scores)
    assert graph_cache.read(str(graph)) is not None


def test_damaged_weights_are_named_with_a_graph_as_without(run, tmp_path):
    compute(run)
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    weights = copy / "fold1" / "best.weights.h5"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(errors.CorruptRecordError, match=r"fold1.best.weights.h5 is damaged: expected the SHA-256"):
        compute(copy)


def test_a_context_model_relates_the_images_of_a_patient(run, tmp_path):
    stage = second_stage.Stage("rank", 1, False, patient_context=True, columns=[], lone_calibration=None, model=None)
    second_stage.save_stage(stage, str(tmp_path), {})
    found = judge.Judge(JudgeConfig(workdir=str(run), context=str(tmp_path)))
    assert found.has_patient_context
    judged = conclude(found, found.compute(IMAGES, None, ROWS["patient_id"].tolist()))
    own = [one.context_probability for one in judged]
    assert sorted(own[:2]) == [0.25, 0.75]
    assert (own[0] < own[1]) == (judged[0].score < judged[1].score)
    # The third is of no known patient.
    assert [one.other_images for one in judged] == [1, 1, 0]
    lines = [describe(one, None) for one in judged]
    assert ["beside the patient's other images" in line for line in lines] == [True, True, False]
    assert "c: by the patient-context model 0." in lines[2]


def test_the_rate_of_false_alarms_is_stated_where_there_is_a_detector(run, monkeypatch):
    assert judge.Judge(JudgeConfig(workdir=str(run))).collect_facts()["false_alarm_rate"] is None
    fitted = judge.detector.Detector(*[np.ones(1)] * len(judge.detector.Detector._fields))
    monkeypatch.setattr(judge.detector_file, "load_detector", lambda path: fitted if "fold1" in path else None)
    found = judge.Judge(JudgeConfig(workdir=str(run)))
    assert found.finds_unlike
    assert found.collect_facts()["false_alarm_rate"] == 0.05


def test_images_unlike_the_training_images_are_warned_of_first(run):
    found = judge.Judge(JudgeConfig(workdir=str(run)))
    results = found.compute(IMAGES, None, [""] * 3)._replace(unlike=np.array([1.5, 0.5, np.nan]))
    first, second, third = conclude(found, results, (["dark"], [], []))
    assert first.warnings[0].startswith("unlike the training images: 1.50 times the limit that 5% of images")
    assert first.warnings[1:] == ("dark",)
    assert (first.unlike, second.unlike, third.unlike) == (1.5, 0.5, None)
    assert second.warnings == third.warnings == ()


def test_facts_state_the_prevalence_and_the_operating_point(run):
    facts = judge.Judge(JudgeConfig(workdir=str(run), prevalence=0.02, operate_at="specificity:0.5")).collect_facts()
    assert (facts["prevalence"], facts["operate_at"], facts["folds"]) == (0.02, "specificity:0.5", 2)
    assert facts["specificity"] >= 0.5
    assert facts["name"] == run.name


def test_a_photograph_with_guessed_colors_is_warned_of():
    gray = np.full((300, 300, 3), 180, np.uint8)
    usual = judge.list_warnings(photographs.Photograph(gray, gray))
    guessed = judge.list_warnings(photographs.Photograph(gray, gray, is_color_guessed=True))
    assert guessed[:-1] == usual
    assert guessed[-1].startswith("colors: The header leaves open whether the image is RGB or YCbCr")


def test_without_a_calibration_nothing_is_calibrated(run, tmp_path):
    for path in run.rglob("*"):
        if path.is_file() and path.name != "calibration.json":
            (tmp_path / path.relative_to(run)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path.relative_to(run)).write_bytes(path.read_bytes())
    found = judge.Judge(JudgeConfig(workdir=str(tmp_path)))
    assert found.fitted is None
    with pytest.raises(errors.ConfigError, match="expected a run with a calibration, got one without; fit one with"):
        found.calibrate(np.full((1, 2), 0.5), 0.1)
