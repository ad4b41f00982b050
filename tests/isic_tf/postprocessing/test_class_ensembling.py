import json

import numpy as np
import pandas as pd
import pytest

from isic_tf.artifacts import prediction_sidecar
from isic_tf.data.targets import class_set
from isic_tf.postprocessing import class_ensembling, ensemble_config, ensemble_predictions

FACTS = {"classes": ["MEL", "BCC", "NV"], "positive_classes": ["MEL", "BCC"], "multi_label": False}
ONE = (
    "image_name,prediction,probability_MEL,probability_BCC,probability_NV\n"
    "a,0.5,0.25,0.25,0.5\nb,0.25,0.125,0.125,0.75\n"
)
# The same classes and images in another order.
TWO = "image_name,prediction,probability_NV,probability_MEL,probability_BCC\nb,1,0,1,0\na,0.5,0.5,0.5,0\n"


def write(folder, name, text, facts=FACTS):
    (folder / name).write_text(text)
    if facts:
        prediction_sidecar.write_sidecar(str(folder / name), patient_context=False, made_by="test", **facts)
    return str(folder / name)


@pytest.fixture
def files(tmp_path):
    return [
        write(tmp_path, "one.csv", ONE),
        write(tmp_path, "two.csv", TWO, {**FACTS, "classes": ["NV", "MEL", "BCC"]}),
    ]


def run(files, folder, **options):
    config = {"predictions": files, "output": str(folder / "out.csv"), **options}
    ensemble_predictions.ensemble(ensemble_config.EnsembleConfig(**config))
    return pd.read_csv(folder / "out.csv"), json.loads((folder / "out.csv.json").read_text())


def test_classes_are_averaged_in_the_order_of_the_first_file(files, tmp_path):
    table, sidecar = run(files, tmp_path)
    assert list(table) == ["image_name", "prediction", "probability_MEL", "probability_BCC", "probability_NV"]
    assert table.values.tolist() == [["a", 0.5, 0.375, 0.125, 0.5], ["b", 0.625, 0.5625, 0.0625, 0.375]]
    assert {name: sidecar[name] for name in FACTS} == FACTS


def test_weights_hold_for_classes_too(files, tmp_path):
    table, _ = run(files, tmp_path, method="weighted", weights=["3", "1"])
    assert table.values.tolist() == [["a", 0.5, 0.3125, 0.1875, 0.5], ["b", 0.4375, 0.34375, 0.09375, 0.5625]]


@pytest.mark.parametrize("options", [{"classes": "drop"}, {"sample_submission": "sample.csv"}])
def test_the_single_prediction_alone_can_be_combined(files, tmp_path, options):
    (tmp_path / "sample.csv").write_text("image_name,target\nb,0\na,0\n")
    options = {name: value.replace("sample", str(tmp_path / "sample")) for name, value in options.items()}
    # Whatever the classes and the method.
    (tmp_path / "two.csv").write_text("image_name,prediction,probability_X\na,0.5,1\nb,1,1\n")
    table, sidecar = run(files, tmp_path, **options)
    assert table.set_index("image_name").iloc[:, 0].to_dict() == {"a": 0.5, "b": 0.625}
    assert table.shape == (2, 2)
    assert "classes" not in sidecar
    run(files, tmp_path, **options, method="rank_mean")


def test_of_several_labels_the_largest_mean_is_the_prediction():
    classes = class_set.ClassSet(("A", "B", "C"), ("A", "B"), multi_label=True)
    combined = class_ensembling.combine([[[0.75, 0.0, 1.0], [0.0, 0.5, 1.0]]], classes, [0.625])
    assert combined["prediction"].tolist() == [0.375]


@pytest.mark.parametrize(
    ("text", "facts", "options", "message"),
    [
        (
            TWO.replace("BCC", "SCC"),
            None,
            {},
            r"got MEL, BCC, NV in .*one.csv and NV, MEL, SCC in .*two.csv; give .*drop",
        ),
        ("image_name,prediction\na,0\nb,1\n", None, {}, r"BCC, NV in .*one.csv and none in .*two.csv"),
        (
            TWO,
            {**FACTS, "positive_classes": ["MEL"]},
            {},
            r"got MEL, BCC \(one .* in .*one.csv and MEL \(one .*two.csv",
        ),
        (TWO, {**FACTS, "multi_label": True}, {}, r"and MEL, BCC \(several labels an image\) in .*two.csv"),
        (
            TWO,
            {**FACTS, "classes": ["A", "B"]},
            {},
            "two.csv.json to name the classes MEL, BCC, NV of its file, got A, B",
        ),
        (
            TWO.replace("1,0\n", "1.5,0\n"),
            FACTS,
            {},
            r"two.csv: expected values of probability_MEL from 0 to 1, .*\(b\)",
        ),
        (
            TWO.replace("1,0\n", "0.5,0\n"),
            FACTS,
            {},
            r"two.csv: expected probabilities of the classes MEL, BCC, NV that add up to 1, .* \(first: b, 0.5000\)",
        ),
        (TWO, FACTS, {"method": "rank_mean"}, "expected --method to be one of mean, weighted, greedy .* got rank_mean"),
        (TWO, FACTS, {"method": "geometric"}, "got geometric, which .*--classes=drop"),
    ],
)
def test_files_that_do_not_fit_are_refused(files, tmp_path, text, facts, options, message):
    (tmp_path / "two.csv.json").unlink()
    write(tmp_path, "two.csv", text, facts)
    with pytest.raises(ValueError, match=message):
        run(files, tmp_path, **options)


def test_without_sidecars_the_single_predictions_are_combined(tmp_path, capsys):
    paths = [write(tmp_path, "one.csv", ONE, None), write(tmp_path, "two.csv", TWO.replace("b,1,", "b,0.75,"), None)]
    table, sidecar = run(paths, tmp_path)
    assert table["prediction"].tolist() == [0.5, 0.5]
    assert table["probability_MEL"].tolist() == [0.375, 0.5625]
    assert "classes" not in sidecar
    assert "two.csv.json says which classes are positive" in capsys.readouterr().out


@pytest.mark.parametrize("method", ["mean", "greedy"])
def test_out_of_fold_classes_are_written_where_nothing_is_fitted(tmp_path, capsys, method):
    rng = np.random.default_rng(0)
    paths = []
    for name in ("one.csv", "two.csv"):
        probabilities = rng.dirichlet(np.ones(3), 12).round(4)
        table = pd.DataFrame(probabilities, columns=[f"probability_{name}" for name in FACTS["classes"]])
        table.insert(0, "image_name", [f"i{number}" for number in range(12)])
        table.insert(1, "prediction", probabilities[:, :2].sum(axis=1))
        text = table.assign(fold=np.arange(12) // 3 % 2, target=np.arange(12) % 2).to_csv(index=False)
        paths.append(write(tmp_path, name, text))
    config = {"oof": paths, "oof_output": str(tmp_path / "oof.csv"), "method": method}
    table = ensemble_predictions.ensemble(ensemble_config.EnsembleConfig(**config)).out_of_fold
    single = ["image_name", "prediction", "fold", "target"]
    expected = pd.concat([pd.read_csv(path) for path in paths]).groupby("image_name", sort=False).mean()
    if method == "mean":
        assert list(table) == [*single[:2], "probability_MEL", "probability_BCC", "probability_NV", *single[2:]]
        np.testing.assert_allclose(table.drop(columns="image_name"), expected, atol=1e-4)
    else:
        assert list(table) == single
    assert ("--oof_output holds no classes" in capsys.readouterr().out) == (method == "greedy")
