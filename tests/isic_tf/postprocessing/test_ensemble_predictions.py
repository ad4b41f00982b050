import re

import pandas as pd
import pytest
from ensemble_files import make_runs

from isic_tf.metrics import roc
from isic_tf.postprocessing import ensemble_config, ensemble_predictions

FLAGS = {
    "predictions": None,
    "output": None,
    "sample_submission": None,
    "oof": None,
    "labels": None,
    "method": "mean",
    "weights": None,
    "join": "equal",
    "oof_output": None,
}


def run(**flags):
    return ensemble_predictions.ensemble(ensemble_config.EnsembleConfig(**FLAGS | flags))


@pytest.fixture
def small(tmp_path):
    """Two files of the same three images, the second a submission in another order."""
    (tmp_path / "one.csv").write_text("image_name,prediction\na,0.1\nb,0.2\nc,0.3\n")
    (tmp_path / "two.csv").write_text("image_name,target\nc,0.9\na,0.5\nb,0.4\n")
    return tmp_path


def blend(folder, **flags):
    paths = [str(folder / name) for name in ("one.csv", "two.csv")]
    run(**{"predictions": paths, "output": str(folder / "blend.csv")} | flags)
    return pd.read_csv(folder / "blend.csv")


def test_files_are_blended_by_name_in_the_order_of_the_first(small, capsys):
    table = blend(small)
    assert list(table) == ["image_name", "prediction"]
    assert table["image_name"].tolist() == ["a", "b", "c"]
    assert table["prediction"].tolist() == pytest.approx([0.3, 0.3, 0.6])
    assert "wrote 3 predictions to" in capsys.readouterr().out
    weighted = blend(small, method="weighted", weights=["3", "1"])
    assert weighted["prediction"].tolist() == pytest.approx([0.2, 0.25, 0.45])


def test_what_spreadsheets_make_of_a_file_is_read(small):
    (small / "two.csv").write_bytes("\ufeffImage_Name,Prediction\r\nc , 0.9\r\na,0.5\r\nb,0.4\r\n".encode())
    assert blend(small)["prediction"].tolist() == pytest.approx([0.3, 0.3, 0.6])


def test_a_submission_has_the_samples_order(small):
    (small / "sample.csv").write_text("image_name,target\nb,0\nc,0\na,0\n")
    table = blend(small, sample_submission=str(small / "sample.csv"))
    assert list(table) == ["image_name", "target"]
    assert table["image_name"].tolist() == ["b", "c", "a"]
    assert table["target"].tolist() == pytest.approx([0.3, 0.6, 0.3])
    (small / "sample.csv").write_text("image_name,target\nb,0\nx,0\na,0\n")
    with pytest.raises(ValueError, match=r"images does not match .*sample.csv: 1 .*\(x\).*; check --predictions"):
        blend(small, sample_submission=str(small / "sample.csv"))


def test_other_images_are_refused_unless_an_inner_join_is_asked_for(small, capsys):
    (small / "two.csv").write_text("image_name,prediction\nx,0.9\na,0.5\nc,0.7\n")
    with pytest.raises(
        ValueError, match=r"images, but 1 only in .*one.csv \(b\); 1 only in .*two.csv \(x\); use --join"
    ):
        blend(small)
    assert not (small / "blend.csv").exists()
    table = blend(small, join="inner")
    assert table["image_name"].tolist() == ["a", "c"]
    assert "note: 2 images are in all files; left out: 1 only in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "two.csv is empty, expected a table"),
        ("image_name,prediction\n", "two.csv has a header but no rows"),
        ("image_name;prediction\na;0.1\n", "two.csv is separated by semicolons, expected commas"),
        ("image_name,score\na,0.1\n", "two.csv needs a column prediction, or target as in a submission"),
        ("image_name,prediction\na,0.1\nb,0.1\nb,0.1\n", "must hold every image once, but repeats 1, for example b"),
        ("image_name,prediction\na,0.1\nb,nan\nc,1\n", r"expected predictions from 0 to 1, 1 of 3 are not \(b\)"),
        ("image_name,target\na,0.1\nb,2\nc,1\n", r"expected predictions from 0 to 1, 1 of 3 are not \(b\)"),
    ],
)
def test_damaged_files_are_refused(small, text, message):
    (small / "two.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        blend(small)


def test_each_file_needs_a_weight(small):
    with pytest.raises(ValueError, match="expected a weight for each of the 2 files in --weights, got 1"):
        blend(small, method="weighted", weights=["1"])


@pytest.mark.parametrize("method", ensemble_config.FITTED)
def test_an_ensemble_fitted_out_of_fold_is_applied_to_the_test_files_of_its_models(models, tmp_path, capsys, method):
    flags = {name: models[name] for name in ("oof", "predictions", "labels")}
    result = run(**flags, method=method, output=str(tmp_path / "blend.csv"), oof_output=str(tmp_path / "oof.csv"))
    out = capsys.readouterr().out
    assert "400 images" in out
    assert "100 patients; nested: each of 5 folds is predicted by a fit on the others" in out
    rows = {line[:16].strip(): line[16:].split() for line in out.splitlines()}
    assert rows["mean"][0] == rows["mean"][1]
    honest = float(rows[method][1])
    assert honest > float(rows["mean"][1])
    low, high = (float(text.strip("[,]")) for text in rows[method][2:])
    assert low < honest < high
    # The model that only guesses gets next to nothing, and the blend is better than any model on the test images.
    weights = [float(line.split()[0]) for line in out.splitlines() if line.endswith(".csv") and "/oof" in line][:3]
    assert weights[0] > weights[1] > 2 * abs(weights[2])
    table = pd.read_csv(tmp_path / "blend.csv").set_index("image_name")["prediction"]
    blended = roc.roc_auc(models["targets"], table.loc[[f"predictions{number}" for number in range(400)]])
    for path in models["predictions"]:
        alone = pd.read_csv(path).set_index("image_name")["prediction"].loc[table.index]
        targets = [models["targets"][int(name.removeprefix("predictions"))] for name in table.index]
        assert blended > roc.roc_auc(targets, alone)
    # The cross-validated predictions in the file have the ROC AUC that was printed.
    oof = pd.read_csv(tmp_path / "oof.csv")
    assert list(oof) == ["image_name", "prediction", "fold", "target"]
    assert roc.roc_auc(oof["target"], oof["prediction"]) == pytest.approx(honest, abs=5e-5)
    # Both tables and the metrics are returned as well.
    pd.testing.assert_frame_equal(result.predictions, pd.read_csv(tmp_path / "blend.csv"))
    pd.testing.assert_frame_equal(result.out_of_fold, oof)
    assert result.metrics["name"].tolist() == ["best single file", "mean", method]
    assert result.metrics["auc_nested"].iloc[-1] == roc.roc_auc(oof["target"], oof["prediction"])
    assert result.blend.method == method


def test_the_order_of_the_oof_files_rows_changes_nothing(models, tmp_path):
    outputs = []
    for turn in (0, 1):
        paths = []
        for number, path in enumerate(models["oof"]):
            paths.append(str(tmp_path / f"{turn}{number}.csv"))
            pd.read_csv(path).sample(frac=1, random_state=10 * turn + number).to_csv(paths[-1], index=False)
        output = tmp_path / f"blend{turn}.csv"
        run(oof=paths, predictions=models["predictions"], output=str(output), method="greedy")
        outputs.append(output.read_bytes())
    assert outputs[0] == outputs[1]


def test_a_file_that_is_not_out_of_fold_is_not_fitted_on(models):
    with pytest.raises(ValueError, match=r"predictions0.csv has no column fold, so it is not out of fold; give"):
        run(oof=models["predictions"], labels=models["labels"], method="stack")


def test_predictions_that_were_fitted_on_are_noted(models, tmp_path, capsys):
    run(oof=models["oof"], predictions=models["oof"], output=str(tmp_path / "blend.csv"), method="weighted")
    out = capsys.readouterr().out
    assert "note: the ensemble was fitted on 400 images of --predictions; --oof_output writes cross-" in out
    assert "note: intervals over patients need --labels" in out


def test_given_weights_are_evaluated_and_not_fitted(models, tmp_path, capsys):
    flags = {"oof": models["oof"][:2], "predictions": models["predictions"][:2], "output": str(tmp_path / "blend.csv")}
    run(**flags, method="weighted", weights=["1", "1"])
    rows = {line[:16].strip(): line[16:].split() for line in capsys.readouterr().out.splitlines()}
    assert rows["weighted"][:2] == rows["mean"][:2]


@pytest.mark.parametrize("method", ensemble_config.FITTED)
def test_overfitting_shows_in_the_nested_auc(tmp_path, capsys, method):
    # Twelve random models, 120 images.
    models = make_runs(tmp_path, num_images=120, signals=[0.0] * 12)
    run(oof=models["oof"], labels=models["labels"], method=method)
    out = capsys.readouterr().out
    inside, nested = (float(text) for text in re.search(rf"^{method} +(\S+) +(\S+)", out, re.MULTILINE).groups())
    assert inside > 0.58
    assert nested < inside - 0.1
    assert re.search(rf"^{method} minus mean: [+-]\S+ \[-\S+, [+-]\S+\]$", out, re.MULTILINE)
    assert "the difference to the plain mean may be due to chance; --method=mean cannot overfit" in out


def test_an_ensemble_that_is_better_than_the_mean_has_no_warning(tmp_path, capsys):
    models = make_runs(tmp_path, num_images=800, signals=(2.0, -0.5, -0.5))
    for labels in (models["labels"], None):
        run(oof=models["oof"], labels=labels, method="greedy")
        out = capsys.readouterr().out
        assert re.search(r"^greedy minus mean: \+0\.\d{4}", out, re.MULTILINE)
        assert "may be due to chance" not in out


@pytest.mark.realdata
def test_the_mean_of_real_submissions_is_their_authors(real_data, tmp_path):
    folder = real_data / "predictions" / "ensemble" / "navitacion"
    paths = sorted(str(path) for path in folder.glob("submission_*.csv"))
    assert len(paths) == 3
    flags = {"predictions": paths, "sample_submission": str(real_data / "isic2020" / "sample_submission.csv")}
    run(**flags, output=str(tmp_path / "blend.csv"), method="mean")
    ours, theirs = pd.read_csv(tmp_path / "blend.csv"), pd.read_csv(folder / "ensemble_submission.csv")
    assert ours["image_name"].tolist() == theirs["image_name"].tolist()
    assert (ours["target"] - theirs["target"]).abs().max() < 1e-12
