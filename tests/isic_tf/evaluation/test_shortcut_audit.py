import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from isic_tf.evaluation import shortcut_audit


@pytest.fixture(scope="module")
def leaking():
    """4,000 images of 400 patients: one camera sees half of the melanomas and a tenth of the benign lesions."""
    rng = np.random.default_rng(0)
    targets = (rng.random(4000) < 0.2).astype(int)
    small = rng.random(4000) < np.where(targets == 1, 0.5, 0.1)
    columns = {"patient": np.arange(4000) % 400, "target": targets, "width": np.where(small, 640, 6000)}
    columns |= {"height": np.where(small, 480, 4000), "sex": rng.choice(["male", "female", ""], 4000)}
    # The model sees the camera and nothing else.
    return pd.DataFrame({**columns, "prediction": np.where(small, 0.8, 0.2) + rng.random(4000) * 0.1})


def test_a_leaking_size_is_found_and_a_model_that_uses_only_it_is_random_within_sizes(leaking):
    found = shortcut_audit.audit(leaking, resamples=100)
    size, file, metadata = found["rows"]
    # By hand: 0.5 * 0.9 of the pairs are won, 0.5 * 0.1 + 0.5 * 0.9 tied.
    assert size["auc"] == pytest.approx(0.5 * 0.9 + (0.5 * 0.1 + 0.5 * 0.9) / 2, abs=0.02)
    assert size["auc_low"] < size["auc"] < size["auc_high"]
    assert size["share"] == pytest.approx(1, abs=0.05)
    assert size["warning"]
    assert size["model_within"] == pytest.approx(0.5, abs=0.05)
    assert size["pairs_within"] == pytest.approx(0.5, abs=0.03)
    assert (file["note"], file["auc"], file["warning"]) == ("not known", None, False)
    # Sex says nothing here.
    assert metadata["auc"] == pytest.approx(0.5, abs=0.03)
    assert not metadata["warning"]


def test_file_sizes_are_grouped_in_twentieths_and_unknown_ones_together(leaking):
    rng = np.random.default_rng(1)
    size = np.where(leaking["width"] == 640, 20_000, 100_000) + rng.integers(0, 10_000, 4000)
    row = shortcut_audit.audit(leaking.assign(bytes=np.where(rng.random(4000) < 0.1, -1, size)), resamples=50)["rows"][
        1
    ]
    assert row["shortcut"] == "file size"
    assert row["auc"] == pytest.approx(0.68, abs=0.03)
    assert row["pairs_within"] < 0.1


def test_metadata_predict_as_the_logistic_regression_on_all_images(leaking):
    rng = np.random.default_rng(0)
    ages = np.where(leaking["target"] == 1, rng.choice([60, 70], 4000), rng.choice([40, 50, 60], 4000)).astype(str)
    table = leaking.assign(age_approx=ages)
    row = shortcut_audit.audit(table, resamples=50)["rows"][2]
    assert row["auc"] > 0.8
    # The few combinations with weights give the model of all images.
    columns = table[["age_approx", "sex"]]
    combination = columns.groupby(list(columns), sort=False).ngroup().to_numpy()
    rows = columns.iloc[np.unique(combination, return_index=True)[1]]
    counts = np.stack([np.bincount(combination[table["target"] == kind], minlength=len(rows)) for kind in (0, 1)])
    known = pd.get_dummies(columns).to_numpy(float)
    plain = LogisticRegression(max_iter=1000).fit(known, table["target"]).predict_proba(known)[:, 1]
    assert shortcut_audit.logistic(rows, counts)[combination] == pytest.approx(plain, abs=1e-3)


def test_no_image_is_predicted_from_its_own_patient():
    # Each patient has a size and a diagnosis of his own: other patients say nothing about it.
    rng = np.random.default_rng(0)
    patient = np.arange(2000) // 10
    targets = rng.integers(0, 2, 200)[patient]
    columns = pd.DataFrame({"size": patient.astype(str)})
    guessed = shortcut_audit.cross_validate(columns, targets, patient)
    assert roc_auc_score(targets, guessed) == 0.5


def test_folds_have_complete_patients_and_equal_numbers_of_malignant_images():
    rng = np.random.default_rng(0)
    patient = rng.integers(0, 200, 3000)
    targets = (rng.random(3000) < 0.1).astype(int)
    part = shortcut_audit.parts(targets, patient)
    assert all(len(set(part[patient == one])) == 1 for one in range(200))
    malignant = np.bincount(part, targets)
    assert malignant.max() - malignant.min() < 0.2 * malignant.mean()


def test_the_prevalence_of_a_rare_category_is_shrunk_to_that_of_all_images():
    rows = pd.DataFrame({"size": ["a", "b", "c"]})
    found = shortcut_audit.prevalence_by_part(rows, np.array([[80, 0, 0], [18, 2, 0]]))
    # 20 of 100 in all: (18 + 4) / 118, (2 + 4) / 22, 4 / 20.
    assert found == pytest.approx([22 / 118, 6 / 22, 0.2])


def test_the_area_within_strata_worked_by_hand():
    targets, scores = np.array([0, 1, 0, 1, 1]), np.array([0.1, 0.2, 0.9, 0.8, 0.3])
    # One pair won in the first, one lost in the second, none in the third; six pairs in all.
    assert shortcut_audit.auc_within(targets, scores, np.array([0, 0, 1, 1, 2])) == (0.5, pytest.approx(2 / 6))
    assert shortcut_audit.auc_within(targets, scores, np.array([0, 1, 0, 1, 2])) == (None, 0.0)


def test_a_small_set_and_a_model_worse_than_random_have_no_share(leaking):
    few = pd.concat([leaking[leaking["target"] == 1][:6], leaking[leaking["target"] == 0][:50]])
    row = shortcut_audit.audit(few, resamples=20)["rows"][0]
    assert row["note"] == "too small: 6 malignant images, 10 needed"
    row = shortcut_audit.audit(leaking.assign(prediction=1 - leaking["prediction"]), resamples=20)["rows"][0]
    assert (row["share"], row["warning"]) == (None, False)


def test_one_class_in_the_training_folds_gives_no_regression():
    rows = pd.DataFrame({"sex": ["male", "female"]})
    assert shortcut_audit.logistic(rows, np.array([[3, 4], [0, 0]])).tolist() == [0, 0]


@pytest.mark.realdata
def test_image_size_alone_predicts_the_labels_of_2020(real_data):
    labels = pd.read_csv(real_data / "isic2020" / "train_cdeotte.csv", keep_default_na=False)
    labels["patient"] = pd.factorize(labels["patient_id"])[0]
    found = shortcut_audit.audit(labels.astype({"age_approx": str}).assign(prediction=0.5), resamples=50)
    size, _, metadata = found["rows"]
    assert 0.76 < size["auc"] < 0.80
    assert 0.65 < metadata["auc"] < 0.70
    # Of constant predictions: chance.
    assert found["model_auc"] == size["model_within"] == 0.5
