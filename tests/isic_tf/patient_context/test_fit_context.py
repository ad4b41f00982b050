import functools
import json

import numpy as np
import pandas as pd
import pytest
from harness import CONTEXT
from scipy import special
from sklearn.metrics import roc_auc_score

from isic_tf.artifacts import prediction_sidecar
from isic_tf.patient_context import context_ablation, fit_context, lesion_features, second_stage
from isic_tf.patient_context.config import METHODS, ContextConfig, ContextFilesConfig
from isic_tf.patient_context.second_stage import StageOptions
from isic_tf.postprocessing import out_of_fold

pytestmark = pytest.mark.usefixtures("few_trees")


def make(folder, patients=200, each=10, seed=0):
    """Writes lesions whose signal lies only in their departure from the patient's look; stage one sees next to none."""
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), each)
    targets = (rng.random(len(owner)) < 0.08).astype(int)
    directions = rng.normal(size=(len(owner), 16))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    looks = (
        4 * rng.normal(size=(patients, 16))[owner]
        + rng.normal(size=(len(owner), 16))
        + 6 * targets[:, None] * directions
    )
    names = np.array([f"i{seed}_{number}" for number in range(len(owner))])
    scores = special.expit(rng.normal(size=len(owner)) + 0.36 * targets - 3)
    metadata = pd.DataFrame({"image_name": names, "patient_id": [f"p{number}" for number in owner], "target": targets})
    metadata["sex"] = np.where(owner % 2, "male", "female")
    metadata["age_approx"] = rng.choice(["40", "45", ""], len(owner))
    metadata["anatom_site_general_challenge"] = rng.choice(["torso", "head/neck", ""], len(owner))
    metadata.to_csv(folder / "metadata.csv", index=False)
    oof = pd.DataFrame({"image_name": names, "prediction": scores, "fold": owner % 5, "target": targets})
    oof.sample(frac=1, random_state=seed).to_csv(folder / "oof.csv", index=False)
    embeddings = np.full((len(owner), 5, 16), np.nan, np.float32)
    # Each fold's network has features of its own.
    turns = [np.linalg.qr(rng.normal(size=(16, 16)))[0] * (1 + fold) for fold in range(5)]
    for fold in range(5):
        embeddings[owner % 5 == fold, fold] = looks[owner % 5 == fold] @ turns[fold]
    np.savez(folder / "looks.npz", image_name=names, fold=np.arange(5).astype(str), embeddings=embeddings)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return make(tmp_path_factory.mktemp("context"))


def run(folder, **changes):
    paths = {name: str(folder / f"{name}.csv") for name in ("metadata", "out")}
    options = {**CONTEXT, "oof": [str(folder / "oof.csv")], "metadata": paths["metadata"], "output": paths["out"]}
    returned = fit_context.run_context(ContextFilesConfig(**(options | changes)))
    written = pd.read_csv((options | changes)["output"])
    written.attrs.update(returned.attrs)
    return written


@pytest.fixture(scope="module")
def fitted(data, few_trees):
    """The ugly duckling judged by boosting, shuffled twice, and the folder of its stage."""
    options = {"embeddings": str(data / "looks.npz"), "model_dir": str(data / "stage"), "permutations": 2}
    return run(data, **options), data / "stage"


def test_the_ugly_duckling_is_found(fitted):
    table, folder = fitted
    assert list(table) == ["image_name", "prediction", "stage_one", "fold", "target"]
    assert 0.55 < roc_auc_score(table["target"], table["stage_one"]) < 0.65
    assert roc_auc_score(table["target"], table["prediction"]) > 0.85
    figures = json.loads((folder / "context.json").read_text())["nested"]
    assert table.attrs["evaluation"] == figures
    assert figures["context"]["auc"] == pytest.approx(roc_auc_score(table["target"], table["prediction"]))
    assert figures["context less metadata alone"]["low"] > 0.1
    # With other patients' lesions beside it, a melanoma is not to be told.
    assert max(figures["shuffled"]["gains"]) < 0.1 < figures["shuffled"]["gain"]
    assert figures["shuffled"]["p"] == pytest.approx(1 / 3)


def test_the_stage_is_applied_to_other_patients(fitted, data, tmp_path, capsys):
    other = make(tmp_path, patients=60, seed=1)
    truth = pd.read_csv(other / "oof.csv")
    truth[["image_name", "prediction"]].to_csv(other / "test.csv", index=False)
    truth["image_name"].sort_values().to_frame().to_csv(other / "sample.csv", index=False)
    # A test set's patients are of no fold: all networks have seen each image.
    options = {"oof": None, "predictions": [str(other / "test.csv")], "model_dir": str(fitted[1])}
    options |= {"embeddings": str(other / "looks.npz"), "sample_submission": str(other / "sample.csv")}
    found = run(other, **options)
    assert list(found) == ["image_name", "target"]
    assert "evaluation" not in found.attrs
    assert found["image_name"].is_monotonic_increasing
    both = found.rename(columns={"target": "found"}).merge(truth)
    assert roc_auc_score(both["target"], both["found"]) > 0.85
    assert json.loads((other / "out.csv.json").read_text())["patient_context"] is True
    assert "\nother images of the patients were used\n" in capsys.readouterr().out


def test_each_fold_is_judged_by_what_was_fitted_on_the_others(data):
    known = out_of_fold.read([str(data / "oof.csv")], str(data / "metadata.csv"))
    given = fit_context.read_lesions(known.names, special.logit(known.scores), str(data / "metadata.csv"), None)
    found = second_stage.predict_nested(given, known.targets, known.folds, StageOptions("boost"))
    own = known.folds == 2
    stage = second_stage.fit_stage(second_stage._take(given, ~own), known.targets[~own], StageOptions("boost"))
    np.testing.assert_array_equal(second_stage.apply_stage(stage, second_stage._take(given, own)), found[own])


@pytest.mark.parametrize("method", ["z_score", "ratio", "rank"])
def test_scores_in_relation_to_the_patient_by_hand(method):
    given = lesion_features.gather(
        special.logit([[0.2], [0.4], [0.6], [0.3]]), ["a", "a", "a", "b"], pd.DataFrame(index=range(4))
    )
    found = second_stage.apply_stage(second_stage.fit_stage(given, [0, 1, 0, 0], StageOptions(method)), given)
    logits = special.logit([0.2, 0.4, 0.6])
    by_hand = {
        "rank": [1 / 6, 3 / 6, 5 / 6],
        "ratio": [1 / 3, 1 / 2, 3 / 5],
        "z_score": special.ndtr((logits - logits.mean()) / logits.std()),
    }
    assert found[:3] == pytest.approx(by_hand[method])
    # One in four scores lower than that of the patient without others.
    assert found[3] == pytest.approx(1.5 / 4)
    equal = given._replace(logits=np.zeros((4, 1)))
    of_equal = second_stage.fit_stage(equal, [0, 1, 0, 0], StageOptions(method))
    assert second_stage.apply_stage(of_equal, equal) == pytest.approx(0.5)


@pytest.mark.parametrize("method", METHODS)
def test_lesions_without_others_keep_the_order_of_stage_one(method, monkeypatch):
    quick = functools.partial(second_stage.SetModelOptions, members=2, steps=20, units=8, heads=2)
    monkeypatch.setattr(second_stage, "SetModelOptions", quick)
    rng = np.random.default_rng(0)
    owner = np.where(np.arange(400) < 300, np.arange(400) // 10, np.arange(400)).astype(str)
    owner[350:] = ""
    logits, targets = rng.normal(size=(400, 1)), (np.arange(400) % 9 == 0).astype(int)
    given = lesion_features.gather(logits, owner, pd.DataFrame({"age_approx": rng.choice(["30", "80", ""], 400)}))
    stage = second_stage.fit_stage(given, targets, StageOptions(method))
    found = second_stage.apply_stage(stage, given)
    assert (np.diff(found[300:][np.argsort(logits[300:, 0])]) > 0).all()
    order = rng.permutation(400)
    shuffled = second_stage.apply_stage(stage, second_stage._take(given, order))
    np.testing.assert_allclose(shuffled, found[order], atol=1e-6)


def test_without_context_no_other_image_has_a_part(data, tmp_path, capsys):
    table = run(data, no_patient_context=True, model_dir=str(tmp_path / "stage"), output=str(tmp_path / "out.csv"))
    # Who wrote oof.csv did not say whether patients' other images had a part in it.
    assert json.loads((tmp_path / "out.csv.json").read_text())["patient_context"] is None
    out = capsys.readouterr().out
    assert "a sidecar is missing that states whether the image-level models used any" in out
    assert "no other image of a patient was used\n" not in out
    prediction_sidecar.write_sidecar(str(data / "oof.csv"), patient_context=False, made_by="isic_tf.train")
    run(data, no_patient_context=True, output=str(tmp_path / "out.csv"))
    (data / "oof.csv.json").unlink()
    assert json.loads((tmp_path / "out.csv.json").read_text())["patient_context"] is False
    assert "no other image of a patient was used\n" in capsys.readouterr().out
    stage = second_stage.load_stage(str(tmp_path / "stage"))
    assert not stage.patient_context
    names = table["image_name"].tolist()
    given = fit_context.read_lesions(
        names, special.logit(table[["stage_one"]].to_numpy()), str(data / "metadata.csv"), None
    )
    apart = second_stage.apply_stage(stage, given._replace(patients=np.arange(len(names))))
    np.testing.assert_array_equal(second_stage.apply_stage(stage, given), apart)


def test_several_files_are_joined_by_name(data, tmp_path):
    second = pd.read_csv(data / "oof.csv").sample(frac=1, random_state=5)
    second["prediction"] = second["prediction"] ** 0.5
    second.to_csv(tmp_path / "second.csv", index=False)
    both = [str(data / "oof.csv"), str(tmp_path / "second.csv")]
    options = {"model_dir": str(tmp_path / "stage"), "output": str(tmp_path / "out.csv")}
    found = run(data, oof=both, **options)
    assert found["stage_one"].between(0, 1).all()
    with pytest.raises(ValueError, match=r"expected 2 prediction file\(s\), as in the fit, got 1"):
        run(data, oof=None, predictions=both[:1], **options)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oof": None}, "expected either --oof, to fit .*, or --predictions, .* got neither"),
        ({"predictions": ["a.csv"]}, "expected either --oof, to fit .*, or --predictions, .* got both"),
        ({"oof": None, "predictions": ["a.csv"]}, "expected --model_dir with --predictions"),
        ({"sample_submission": "s.csv"}, "out-of-fold predictions are not a submission"),
        (
            {"no_patient_context": True, "method": "set"},
            "--method=set needs patient context; with --no_patient_context use --method=boost",
        ),
        ({"embeddings": "none.npz"}, "no embeddings at none.npz; create them with"),
        (
            {"oof": None, "predictions": ["a.csv"], "model_dir": "none"},
            "expected a patient-context model at none/context.json",
        ),
        # Before anything is read.
        ({"oof": ["none.csv"], "output": "."}, r"expected the path of a file to write, got the directory \.; add"),
        (
            {"oof": ["none.csv"], "model_dir": __file__},
            "expected a directory as --model_dir, got .*, which is a file; name another",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(data, changes, message):
    with pytest.raises(ValueError, match=message):
        run(data, **changes)


def test_metadata_that_does_not_fit_is_refused(data, tmp_path, capsys):
    metadata = pd.read_csv(data / "metadata.csv", keep_default_na=False)
    path, options = tmp_path / "m.csv", {"metadata": str(tmp_path / "m.csv"), "output": str(tmp_path / "o.csv")}
    metadata.iloc[3:].to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"3 out-of-fold images have no label in .*m.csv \(first: i0_"):
        run(data, **options)
    with pytest.raises(ValueError, match="3 images are not in .*m.csv .first: i0_0.; check --metadata"):
        fit_context.read_lesions(metadata["image_name"].tolist(), np.zeros((len(metadata), 1)), str(path), None)
    metadata.assign(patient_id="").to_csv(path, index=False)
    with pytest.raises(ValueError, match="for 0 such images; check patient_id in --metadata"):
        run(data, **options)
    # Only who the patient is: judged by the scores.
    metadata[["image_name", "patient_id", "target"]].to_csv(path, index=False)
    assert run(data, method="rank", **options)["prediction"].between(0, 1).all()
    assert "has no age_approx, sex, anatom_site_general_challenge; predicting without" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"image_name": np.array(["a"])}, "is not an archive of embeddings"),
        (
            {"image_name": np.array(["a"]), "embeddings": np.zeros((2, 1, 3), np.float32)},
            "is not an archive of embeddings",
        ),
        ({"image_name": np.array(["a"]), "embeddings": np.array([{}], object)}, "is not an archive of embeddings"),
        ({"image_name": np.array(["a", "a"]), "embeddings": np.zeros((2, 1, 3), np.float32)}, "names an image twice"),
        (
            {"image_name": np.array(["a"]), "embeddings": np.zeros((1, 1, 3), np.float32)},
            "2000 images have no embeddings",
        ),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(data, tmp_path, arrays, message):
    np.savez(tmp_path / "looks.npz", **arrays)
    with pytest.raises(ValueError, match=message):
        run(data, embeddings=str(tmp_path / "looks.npz"))


def test_embeddings_that_the_stage_was_fitted_on_are_asked_for(fitted, data):
    options = {"oof": None, "predictions": [str(data / "oof.csv")], "model_dir": str(fitted[1])}
    with pytest.raises(ValueError, match="expected embeddings, as in the fit, got none; give --embeddings"):
        run(data, **options)


def test_a_damaged_stage_is_refused(fitted, tmp_path):
    content = json.loads((fitted[1] / "context.json").read_text())
    (tmp_path / "boost.npz").write_bytes((fitted[1] / "boost.npz").read_bytes())
    damages = [{"method": "magic"}, {"files": "one"}, {"alone": {}}, {"columns": 3}]
    for damaged in [*(json.dumps(content | damage) for damage in damages), "[]", "{"]:
        (tmp_path / "context.json").write_text(damaged)
        with pytest.raises(ValueError, match="is not a valid patient-context model"):
            second_stage.load_stage(str(tmp_path))
    (tmp_path / "context.json").write_text(json.dumps(content | {"columns": content["columns"][1:]}))
    with pytest.raises(ValueError, match="expected boost.npz with the .* columns of .*context.json, got"):
        second_stage.load_stage(str(tmp_path))


def test_a_gain_of_shuffled_patients_is_warned_of(data, monkeypatch, capsys):
    known = out_of_fold.read([str(data / "oof.csv")], str(data / "metadata.csv"))
    scores = {"metadata alone": known.scores[:, 0], "context": known.scores[:, 0] + 0.01 * known.targets}
    monkeypatch.setattr(second_stage, "predict_nested", lambda *_: known.scores[:, 0] + 0.1 * known.targets)
    given = lesion_features.gather(known.scores, known.patients, pd.DataFrame(index=range(len(known.names))))
    assert context_ablation.shuffle(known, given, StageOptions("boost"), scores, 3)["p"] == 1
    assert "WARNING: shuffled patients gain as well" in capsys.readouterr().out


def test_patients_are_shuffled_within_their_folds():
    patients, folds = np.arange(100) // 4, np.arange(100) // 50
    found = context_ablation._permute(patients, folds, np.random.default_rng(0))
    assert sorted(found[:50]) == patients[:50].tolist()
    assert (found != patients).mean() > 0.8


def test_numeric_columns_of_the_table_are_fitted_on_and_needed_again(data, tmp_path):
    table = pd.read_csv(data / "metadata.csv")
    rng = np.random.default_rng(5)
    areas = (10 + 3 * table["target"] + rng.normal(size=len(table))).where(table.index % 9 > 0)
    # Without ages, which the model can do without.
    table.assign(area=areas).drop(columns="age_approx").to_csv(tmp_path / "metadata.csv", index=False)
    metadata = str(tmp_path / "metadata.csv")
    config = ContextConfig(method="boost", no_patient_context=True, columns=("area",), strategy="default")
    stage = fit_context.fit_context_model([str(data / "oof.csv")], metadata, config)
    assert stage.numbers["area"] == pytest.approx([areas.mean(), areas.std(ddof=0)])
    found = fit_context.apply_context_model(stage, [str(data / "oof.csv")], metadata)
    assert roc_auc_score(found.merge(table)["target"], found["prediction"]) > 0.9
    with pytest.raises(ValueError, match="metadata.csv has no column area, only image_name, .*"):
        fit_context.apply_context_model(stage, [str(data / "oof.csv")], str(data / "metadata.csv"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": ("age", "area")}, "expected --columns to be numeric columns of --metadata, got age: age, sex and"),
        ({"columns": ("mel_thick_mm",)}, "--columns=mel_thick_mm is refused: only melanomas"),
        ({"columns": ("area",), "method": "rank"}, "expected no --columns with --method=rank, which fits nothing"),
        ({"columns": ("area",), "oof": None, "predictions": ["x.csv"], "model_dir": "m"}, "--columns only with --oof"),
    ],
)
def test_columns_that_cannot_be_used_are_refused(data, changes, message):
    with pytest.raises(ValueError, match=message):
        run(data, **changes)
