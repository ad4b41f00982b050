import numpy as np
import pandas as pd
import pytest

from isic_tf.evaluation import shortcut_audit, subgroups


def make(images=400, **columns):
    """Images of 40 patients, half of them malignant, whose predictions separate them partly."""
    rng = np.random.default_rng(0)
    targets = np.arange(images) % 2
    table = {"image_name": [f"i{number}" for number in range(images)], "target": targets}
    table |= {"patient": np.arange(images) % 40, "prediction": (targets + rng.random(images) * 2) / 3}
    return pd.DataFrame({**table, **columns})


@pytest.mark.parametrize(
    ("age", "band"),
    [
        ("0", "under 30"),
        ("29", "under 30"),
        ("30.0", "30 to 44"),
        ("74", "60 to 74"),
        ("90", "75 and over"),
        ("", "unknown"),
    ],
)
def test_ages_fall_into_bands(age, band):
    assert subgroups.age_bands(pd.Series([age], dtype=object)).tolist() == [band]


def test_the_most_frequent_sizes_have_a_group_each():
    table = pd.DataFrame({"width": [6000] * 3 + [640] * 2 + [100, -1], "height": [4000] * 3 + [480] * 2 + [200, -1]})
    found = subgroups.sizes(table, most=2)
    assert found.tolist() == ["6000x4000"] * 3 + ["640x480"] * 2 + ["other sizes", "unknown"]
    assert found.cat.categories.tolist() == ["6000x4000", "640x480", "other sizes", "unknown"]


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        ({"width": [6000, 640]}, None),
        ({"height": [4000, 480]}, None),
        ({"width": [6000, -1], "height": [-1, 480]}, None),
        ({"width": [6000, 640], "height": [-1, 480]}, ["unknown", "640x480"]),
        ({"width": [-1, 640], "height": [4000, 480]}, ["unknown", "640x480"]),
        ({"width": [0, 640], "height": [4000, 480]}, ["unknown", "640x480"]),
    ],
)
def test_a_size_is_known_where_both_sides_are(columns, names):
    table = pd.DataFrame(columns)
    found = subgroups.labels(table.assign(patient=0)).get("image size")
    assert (found is None) == (names is None)
    known = shortcut_audit.known(table)["image size"]
    assert (known is None) == (names is None)
    if names:
        assert found.tolist() == known["size"].tolist() == names


def test_every_column_with_values_makes_groups():
    columns = {"sex": ["male", "Female"] * 200, "age_approx": ["45", ""] * 200, "source": [""] * 400, "width": -1}
    table = make(**columns, height=-1, anatom_site_general_challenge="torso")
    found = subgroups.labels(table)
    assert list(found) == ["sex", "age", "site", "images of the patient"]
    assert found["sex"].cat.categories.tolist() == ["female", "male", "unknown"]
    assert found["age"].value_counts()[["30 to 44", "45 to 59", "unknown"]].tolist() == [0, 200, 200]
    # Of each of the 40 patients there are 10.
    assert set(found["images of the patient"]) == {"10 to 29"}


def test_each_group_has_the_figures_of_its_images_alone():
    table = make()
    group = pd.Series(np.where(np.arange(400) < 200, "a", "b"))
    rows = subgroups.evaluate_group(table, group, 0.5, resamples=100)
    assert [row["group"] for row in rows] == ["a", "b"]
    alone = subgroups.evaluate_group(table[:200], group[:200], 0.5, resamples=100)
    assert rows[0] == alone[0]
    assert (rows[0]["images"], rows[0]["malignant"], rows[0]["patients"], rows[0]["note"]) == (200, 100, 40, "")
    part = table[:200]
    assert rows[0]["sensitivity"] == (part.loc[part["target"] == 1, "prediction"] >= 0.5).mean()
    assert rows[0]["auc_low"] < rows[0]["auc"] < rows[0]["auc_high"]


@pytest.mark.parametrize(
    ("targets", "patient", "note"),
    [
        ([0] * 50 + [1] * 9, range(59), "too small: 9 malignant images, 10 needed"),
        ([0] * 9 + [1] * 50, range(59), "too small: 9 benign images, 10 needed"),
        (
            [0] * 50 + [1] * 12,
            [*range(50), *([50] * 9), 51, 52, 53],
            "too small: malignant images of 4 patients, 5 needed",
        ),
        ([0] * 50 + [1] * 12, range(62), ""),
    ],
)
def test_a_small_group_has_a_note_and_no_figures(targets, patient, note):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"target": targets, "patient": patient, "prediction": rng.random(len(targets))})
    (row,) = subgroups.evaluate_group(table, pd.Series("all", table.index), 0.5, resamples=50)
    assert row["note"] == note
    assert (row["auc"] is None) == (row["sensitivity"] is None) == bool(note)
    assert row["images"] == len(targets)


def test_folds_come_in_order_of_number():
    table = make(fold=[str(number % 40 % 11) for number in range(400)])
    rows = subgroups.folds(table, 0.5, resamples=10)["rows"]
    assert [row["group"] for row in rows] == [str(number) for number in range(11)]


def test_folds_have_a_mean_unless_one_is_too_small():
    table = make(fold=np.where(np.arange(400) % 40 < 20, "0", "1"))
    found = subgroups.folds(table, 0.5, resamples=50)
    assert found["mean_auc"] == pytest.approx(np.mean([row["auc"] for row in found["rows"]]))
    table.loc[:4, "fold"] = "2"
    found = subgroups.folds(table, 0.5, resamples=50)
    assert (found["mean_auc"], found["note"]) == (None, "a fold is too small")
    # Images of no fold are no fold.
    assert subgroups.folds(table.replace({"fold": {"2": ""}}), 0.5, resamples=50)["mean_auc"] is not None
    assert subgroups.folds(table.assign(fold=""), 0.5) is None
    assert subgroups.folds(table.drop(columns="fold"), 0.5) is None
