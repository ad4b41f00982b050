import dataclasses
import functools
import json
import shutil

import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from harness import make_config

from isic_tf.artifacts import fold_results, run_directory, seen_images
from isic_tf.data import mixture
from isic_tf.diagnosis import DiagnoseConfig, diagnose, diagnose_images, standing
from isic_tf.inference import predict_run
from isic_tf.inference.config import PredictConfig
from isic_tf.models import classifiers, set_transformer
from isic_tf.postprocessing import calibration_file
from tfrecord_tools import errors

pytestmark = pytest.mark.usefixtures("small_backbone")


@pytest.fixture
def photos(made_up, tmp_path):
    """Three photographs of the test split, one of them as a gray PNG and one of 16 px."""
    folder = tmp_path / "photos"
    folder.mkdir()
    paths = sorted((made_up / "jpeg" / "test").iterdir())[:3]
    shutil.copy(paths[0], folder / "a.jpg")
    cv2.imwrite(str(folder / "b.png"), cv2.imread(str(paths[1]), cv2.IMREAD_GRAYSCALE))
    cv2.imwrite(str(folder / "c.png"), cv2.resize(cv2.imread(str(paths[2])), (16, 16)))
    return folder


def judge(run, images, **options):
    return diagnose(DiagnoseConfig(workdir=str(run), images=tuple(map(str, images)), **options))


def test_each_photograph_is_judged_as_predict_does(run, photos, capsys):
    found = judge(run, [photos], tta=2)
    predicted = predict_run.predict(run, photos, PredictConfig(tta=2))
    assert [one.image for one in found] == predicted["image_name"].tolist() == ["a", "b", "c"]
    assert [one.score for one in found] == pytest.approx(predicted["prediction"].tolist(), abs=1e-5)
    calibrated = predict_run.predict(run, photos, PredictConfig(tta=2, calibrated=True))["prediction"]
    assert [one.probability for one in found] == pytest.approx(calibrated.tolist(), abs=1e-5)
    out_of_fold = pd.read_csv(run / "oof.csv")
    benign = np.sort(out_of_fold.loc[out_of_fold["target"] == 0, "prediction"])
    reference = standing.make_reference(out_of_fold, "sensitivity", 0.9)
    for one in found:
        assert one.interval[0] <= one.probability <= one.interval[1]
        assert one.above_benign == pytest.approx(standing.rank(np.array([one.score]), benign)[0])
        assert one.is_called_malignant == (one.score >= reference.threshold)
        # Two folds hold out fewer images than a detector needs.
        assert one.unlike is None
    assert any("low resolution" in text for text in found[2].warnings)
    printed = capsys.readouterr().out
    assert "this run has no detector of unlike images, so that was not checked" in printed
    assert "a: probability 0." in printed
    assert "Not a medical device" in printed


def test_single_files_and_the_prevalence_of_use(run, photos):
    found = judge(run, [photos / "a.jpg"], prevalence=0.01)
    (usual,) = judge(run, [photos / "a.jpg"])
    assert len(found) == 1
    fitted = calibration_file.read_calibration(str(run))
    assert fitted["prevalence"] > 0.01
    assert found[0].probability < usual.probability
    assert found[0].score == usual.score


def test_the_page_and_the_file_hold_every_image_and_no_directory(run, photos, tmp_path, capsys):
    evil = photos / "<script>alert(1)</script>.jpg".replace("/", "_")
    shutil.copy(photos / "a.jpg", evil)
    judge(run, [photos], report=str(tmp_path / "page.html"), json=str(tmp_path / "page.json"))
    page = (tmp_path / "page.html").read_text()
    content = json.loads((tmp_path / "page.json").read_text())
    assert content["version"] == 1
    assert len(content["images"]) == 4
    assert content["run"]["folds"] == 2
    assert content["run"]["false_alarm_rate"] is None
    assert "has no detector of unlike images, so that was not checked" in page
    assert page.count("<img ") == 8
    assert "<script>" not in page
    assert "&lt;script&gt;" in page
    assert "Not a medical device" in page
    for text in (page, json.dumps(content)):
        assert str(tmp_path) not in text
        assert str(run.parent) not in text
    assert f"wrote {tmp_path / 'page.html'}" in capsys.readouterr().out


def test_similar_training_images_leave_the_run_only_where_asked(run, photos, record_set, tmp_path, capsys):
    files = {"report": str(tmp_path / "page.html"), "json": str(tmp_path / "page.json")}
    trained = pd.read_csv(run / "oof.csv")["image_name"]

    def find_names():
        texts = [capsys.readouterr().out, *((tmp_path / name).read_text() for name in ("page.html", "page.json"))]
        return [{name for name in trained if name in text} for text in texts]

    (usual,) = judge(run, [photos / "a.jpg"], **files)
    assert usual.neighbors == ()
    assert find_names() == [set(), set(), set()]
    (found,) = judge(
        run, [photos / "a.jpg"], show_neighbors=True, records=str(record_set / "train*.tfrec"), tta=2, **files
    )
    names = {one.image for one in found.neighbors}
    assert len(names) == 5
    assert find_names() == [names, names, names]
    written = json.loads((tmp_path / "page.json").read_text())["images"][0]["neighbors"]
    assert [one["image"] for one in written] == [one.image for one in found.neighbors]
    assert set(written[0]) == {"image", "label", "similarity", "picture"}


def test_training_images_are_named_as_such(run, made_up):
    trained = pd.read_csv(run / "oof.csv")["image_name"].iloc[0]
    (found,) = judge(run, [made_up / "jpeg" / "train" / f"{trained}.jpg"])
    # Its own fold did not train on it, the other one did.
    assert not any("trained on" in text for text in found.warnings)
    (run / "fold0" / "seen_images.csv").rename(run / "fold0" / "kept.csv")
    shutil.copy(run / "fold1" / "seen_images.csv", run / "fold0" / "seen_images.csv")
    try:
        results = [judge(run, [made_up / "jpeg" / "train" / f"{name}.jpg"]) for name in _trained_on(run)]
    finally:
        (run / "fold0" / "kept.csv").replace(run / "fold0" / "seen_images.csv")
    assert all(any("trained on this image" in text for text in one.warnings) for (one,) in results)


def _trained_on(run):
    return pd.read_csv(run / "fold1" / "seen_images.csv")["image_name"].tolist()[:1]


def test_a_run_without_calibration_or_out_of_fold_predictions_says_so(run, photos, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "copy")
    for name in ("calibration.json", "oof.csv"):
        (tmp_path / "copy" / name).unlink()
    (found,) = judge(tmp_path / "copy", [photos / "a.jpg"])
    assert found.probability is found.interval is found.above_benign is found.is_called_malignant is None
    printed = capsys.readouterr().out
    assert "no calibration, so scores are no probabilities" in printed
    assert "no out-of-fold predictions" in printed
    with pytest.raises(errors.ConfigError, match="--prevalence needs a calibration"):
        judge(tmp_path / "copy", [photos / "a.jpg"], prevalence=0.1)


def make_context_run(folder, record_set):
    """A run of two folds with patient context and weights that all count, as training leaves it."""
    options, rows = make_config(context="set", bag_size=4), mixture.read_sets(str(record_set))
    run_directory.claim(str(folder), dataclasses.asdict(options), (), rows)
    for fold in (0, 1):
        tf.keras.utils.set_random_seed(fold)
        network = classifiers.build_classifier("efficientnet-lite0", 32, **options.head_options())
        rng = np.random.default_rng(fold)
        network.set_weights([part + rng.normal(0, 0.3, part.shape) for part in network.get_weights()])
        own = folder / f"fold{fold}"
        own.mkdir()
        fold_results.keep_weights(str(own), network, True)
        seen_images.write_seen_images(str(own), seen_images.list_seen_images(mixture.plan_fold(rows, fold)))


def test_versions_are_averaged_before_the_images_of_a_patient_are_related(record_set, photos, tmp_path, monkeypatch):
    build = functools.partial(set_transformer.build_set_transformer, units=8, heads=2, blocks=1)
    monkeypatch.setattr(set_transformer, "build_set_transformer", build)
    make_context_run(tmp_path / "run", record_set)
    pd.DataFrame({"image_name": ["a", "b", "c"], "patient_id": "p"}).to_csv(tmp_path / "people.csv", index=False)
    scores = {}
    for tta in (1, 8):
        wanted = predict_run.predict(
            tmp_path / "run", photos, PredictConfig(tta=tta, csv=str(tmp_path / "people.csv"))
        )["prediction"]
        scores[tta] = [one.score for one in judge(tmp_path / "run", [photos], patient=True, tta=tta)]
        assert scores[tta] == pytest.approx(wanted.tolist(), abs=1e-5)
    alone = [judge(tmp_path / "run", [photos / name], tta=8)[0].score for name in ("a.jpg", "b.png", "c.png")]
    for others in (scores[1], alone):
        assert np.abs(np.subtract(scores[8], others)).max() > 1e-3


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        (["none.jpg"], {}, errors.IsicError, "none.jpg not found; check the path"),
        (
            ["text.jpg"],
            {},
            errors.IsicError,
            "text.jpg is not an .* JPEG or PNG .*; replace the file, or leave it out$",
        ),
        (["text.jpg", "sub/text.jpg"], {}, errors.IsicError, "some names have more: 'text' .*; remove or rename"),
        (["a.jpg"], {"patient": True}, errors.ConfigError, "--patient needs --context, or a run"),
        (["a.jpg"], {"context": "nowhere"}, errors.IsicError, "nowhere"),
    ],
)
def test_what_cannot_be_judged_is_an_error_of_one_line(run, photos, names, options, error, message):
    (photos / "sub").mkdir()
    for name in ("text.jpg", "sub/text.jpg"):
        (photos / name).write_text("no image")
    with pytest.raises(error, match=message) as caught:
        judge(run, [photos / name for name in names], **options)
    assert "\n" not in str(caught.value)


def test_too_many_images_are_left_to_predict(run, photos, monkeypatch):
    monkeypatch.setattr(diagnose_images, "_MOST_IMAGES", 2)
    with pytest.raises(errors.ConfigError, match="expected at most 2 images, got 3; use isic_tf.predict"):
        judge(run, [photos])
