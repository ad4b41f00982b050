import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit

from isic_tf.postprocessing import calibrate_run, calibration, calibration_file, config
from tfrecord_tools.io import atomic_write


@pytest.fixture
def run(tmp_path):
    """A run whose logits are half as far apart as they should be, and 2 too high; and its labels."""
    rng = np.random.default_rng(0)
    logits = rng.normal(-2, 2, 2000)
    targets = (rng.random(2000) < expit(logits)).astype(int)
    table = {"image_name": [f"i{number}" for number in range(2000)], "prediction": expit(logits / 2 + 2)}
    patients = np.arange(2000) // 5
    oof = pd.DataFrame({**table, "fold": patients % 5, "target": targets})
    oof.to_csv(tmp_path / "oof.csv", index=False)
    labels = {"image_name": table["image_name"], "patient_id": [f"p{patient}" for patient in patients]}
    pd.DataFrame({**labels, "target": targets}).to_csv(tmp_path / "labels.csv", index=False)
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--loss=cross_entropy\n")
    return tmp_path


def make(folder, labels=None, method="all", prevalence=None, oof=None):
    result = calibrate_run.calibrate(
        calibrate_run.CalibrateConfig(
            workdir=str(folder),
            oof=oof and str(oof),
            labels=labels and str(labels),
            method=method,
            prevalence=prevalence,
        )
    )
    assert result.path == str(folder / "calibration.json")
    saved = json.loads((folder / "calibration.json").read_text())
    assert {name: saved[name] for name in result.calibration} == result.calibration
    assert saved["nested"] == result.metrics
    return saved


def test_the_best_on_other_patients_is_saved(run, capsys):
    saved = make(run, run / "labels.csv")
    assert saved["method"] == "platt"
    assert (saved["slope"], saved["intercept"]) == (pytest.approx(2, rel=0.15), pytest.approx(-4, rel=0.15))
    assert saved["images"] == 2000
    figures = saved["nested"]
    assert list(figures) == ["none", *config.CALIBRATIONS]
    for method in ("platt", "isotonic"):
        for name in ("log_loss", "brier", "ece"):
            assert figures[method][name] < 0.8 * figures["none"][name]
    # A temperature cannot move the logits to the side.
    assert figures["temperature"]["log_loss"] > figures["platt"]["log_loss"] + 0.05
    out = capsys.readouterr().out
    assert "each of 5 folds is calibrated by a fit on the others" in out
    rows = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.split()[0] in figures}
    for method, row in rows.items():
        assert [float(text) for text in row] == pytest.approx(list(figures[method].values()), abs=6e-5)
    assert "wrote platt to" in out
    # With the patients' folds in the file, labels change nothing.
    assert make(run)["nested"] == figures


def test_the_calibration_is_refitted_on_samples_of_patients(run):
    saved = make(run, run / "labels.csv", method="platt")
    slopes = [refit["slope"] for refit in saved["replicates"]]
    assert len(slopes) == 100
    low, high = np.percentile(slopes, [2.5, 97.5])
    assert low < saved["slope"] < high
    assert high - low < 0.6
    # Without labels, the patients are those that the folds recorded; without these, images.
    for fold in range(2):
        (run / f"fold{fold}").mkdir()
    oof = pd.read_csv(run / "oof.csv")
    seen = pd.read_csv(run / "labels.csv")[["image_name", "patient_id"]]
    for fold, is_own in enumerate((oof["fold"] < 3, oof["fold"] >= 3)):
        seen[is_own].to_csv(run / f"fold{fold}" / "seen_images.csv", index=False)
    assert make(run, method="platt")["replicates"] == saved["replicates"]
    (run / "fold1" / "seen_images.csv").unlink()
    assert make(run, method="platt")["replicates"] != saved["replicates"]


def test_the_method_asked_for_is_saved_with_the_prevalence_of_use(run):
    saved = make(run, method="isotonic", prevalence=0.0176)
    assert saved["method"] == "isotonic"
    assert saved["used_at"] == 0.0176
    assert list(saved["nested"]) == ["none", "isotonic"]
    # As predict does it.
    probabilities = calibration.apply_calibration(calibration_file.read_calibration(str(run)), [0.2, 0.5, 0.95])
    expected = np.interp([0.2, 0.5, 0.95], saved["scores"], saved["probabilities"])
    assert probabilities == pytest.approx(calibration.shift_prevalence(expected, saved["prevalence"], 0.0176))


def test_metrics_are_never_in_sample(tmp_path):
    """Steps fitted to random scores look good where they were fitted, and bad elsewhere."""
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"image_name": [f"i{number}" for number in range(100)], "prediction": rng.random(100)})
    table = table.assign(fold=np.arange(100) % 5, target=(rng.random(100) < 0.5).astype(int))
    table.to_csv(tmp_path / "oof.csv", index=False)
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--loss=cross_entropy\n")
    saved = make(tmp_path, method="isotonic")
    inside = calibration.apply_calibration(
        calibration.fit_calibration("isotonic", table["prediction"], table["target"]), table["prediction"]
    )
    brier = np.mean((inside - table["target"]) ** 2)
    # The prevalence alone, 0.44, has 0.2464.
    assert brier < 0.2464
    assert saved["nested"]["isotonic"]["brier"] > 0.26


def test_scores_that_are_probabilities_are_left_as_they_are(run, capsys):
    table = pd.read_csv(run / "oof.csv")
    # The prevalence at each of ten scores equals the score, in every fold.
    scores = np.repeat(np.arange(0.05, 1, 0.1), 200)
    places = np.tile(np.repeat(np.arange(40), 5), 10)
    targets = (places < np.round(scores * 40)).astype(int)
    table.assign(prediction=scores, target=targets, fold=np.arange(2000) % 5).to_csv(run / "oof.csv", index=False)
    saved = make(run)
    assert saved["method"] == "none"
    assert "note: the uncalibrated scores have the lowest log loss" in capsys.readouterr().out
    assert calibration.apply_calibration(calibration_file.read_calibration(str(run)), [0.3])[0] == 0.3


def test_a_note_says_that_ranks_of_a_ranking_loss_become_probabilities(run, capsys):
    atomic_write.write_text(str(run / "flags.txt"), "--loss=auc\n")
    make(run, method="platt")
    assert "note: scores of --loss=auc are ranks; calibrated ones are probabilities" in capsys.readouterr().out


def test_patients_in_several_folds_are_noted_and_get_new_folds(run, capsys):
    table = pd.read_csv(run / "oof.csv")
    table.assign(fold=np.arange(2000) % 5).to_csv(run / "oof.csv", index=False)
    make(run, run / "labels.csv", method="platt")
    assert (
        "oof.csv: 400 patients are in several folds, so its predictions are slightly optimistic"
        in capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fold": 0}, "have one fold only; give --labels"),
        ({"target": 0}, "fitting needs benign and malignant images, all 2000 have target 0"),
        ({"prediction": np.nan}, "expected predictions from 0 to 1, 2000 of 2000 are not"),
        ({"image_name": "i0"}, "must hold every image once, but repeats 1999, for example i0"),
    ],
)
def test_out_of_fold_predictions_that_cannot_be_used_are_refused(run, change, message):
    pd.read_csv(run / "oof.csv").assign(**change).to_csv(run / "oof.csv", index=False)
    with pytest.raises(ValueError, match=message):
        make(run)
    assert not (run / "calibration.json").exists()


def test_a_run_without_predictions_and_a_wrong_prevalence_are_refused(run, tmp_path):
    with pytest.raises(ValueError, match=r"no out-of-fold predictions at .*nowhere/oof.csv; train a fold"):
        make(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"no out-of-fold predictions at nowhere.csv; check --oof"):
        make(run, oof="nowhere.csv")
    with pytest.raises(ValueError, match="expected a prevalence between 0 and 1, such as 0.0176, got 1.76"):
        make(run, prevalence=1.76)


def test_other_predictions_of_the_run_can_be_fitted_to(run):
    pd.read_csv(run / "oof.csv").assign(prediction=lambda table: table["prediction"] ** 3).to_csv(run / "oof8.csv")
    own, other = make(run, method="platt"), make(run, method="platt", oof=run / "oof8.csv")
    assert (own["fitted_to"], other["fitted_to"]) == (None, "oof8.csv")
    assert "means of 8; predict --out_of_fold" in calibration_file.describe_versions(own, 8)
    assert [calibration_file.describe_versions(*pair) for pair in ((own, 1), (other, 8))] == ["", ""]
    cubed = calibration.fit_calibration(
        "platt", pd.read_csv(run / "oof8.csv")["prediction"], pd.read_csv(run / "oof.csv")["target"]
    )
    assert other["slope"] == pytest.approx(cubed["slope"], rel=1e-6)
    assert other["slope"] < 0.9 * own["slope"]


def test_a_calibration_older_than_the_runs_predictions_is_refused(run):
    make(run, method="platt")
    before = (run / "oof.csv").read_bytes()
    (run / "oof.csv").write_bytes(before + b"new,0.5,0,0\n")
    with pytest.raises(ValueError, match="calibration.json was fitted to an earlier oof.csv of the run; create it"):
        calibration_file.read_calibration(str(run))
    # Written again as it was, as by a training that finds all its folds done.
    (run / "oof.csv").write_bytes(before)
    assert calibration_file.read_calibration(str(run))["method"] == "platt"


@pytest.mark.realdata
def test_a_real_competitors_scores_become_probabilities(real_data, tmp_path):
    """Trained on balanced batches, their mean is 16 % where 1.8 % are malignant."""
    (tmp_path / "oof.csv").write_bytes((real_data / "predictions" / "oof" / "model_b.csv").read_bytes())
    atomic_write.write_text(str(tmp_path / "flags.txt"), "--loss=cross_entropy\n")
    saved = make(tmp_path, real_data / "isic2020" / "train.csv")
    assert saved["method"] == "platt"
    assert saved["nested"]["none"]["log_loss"] == pytest.approx(0.197, abs=5e-4)
    # That of the prevalence alone is 0.0894.
    assert saved["nested"]["platt"]["log_loss"] == pytest.approx(0.0654, abs=2e-4)
    assert saved["nested"]["platt"]["ece"] < 0.003
    assert saved["nested"]["none"]["ece"] > 0.14
