import numpy as np
import pandas as pd
import pytest

from isic_tf.evaluation import text_report, user_groups
from isic_tf.metrics import roc
from tfrecord_tools import errors


def make():
    """Images of 120 patients in three clinics of which the second is ranked worse, a small one, and unknown ones."""
    rng = np.random.default_rng(0)
    targets = np.arange(480) % 2
    patient = np.arange(480) // 4
    clinic = np.array(["10", "9", "north", ""], dtype=object)[patient // 30]
    clinic[440:456] = "small"
    noise = np.where(clinic == "9", 2.0, 0.5)
    scores = np.clip(0.5 + (targets - 0.5) / 4 + rng.normal(size=480) * noise / 4, 0, 1)
    columns = {"target": targets, "prediction": scores, "patient": patient, "group_clinic": clinic}
    return pd.DataFrame(columns)


def test_groups_have_figures_of_their_own_and_the_largest_gap_between_them():
    table = make()
    (found,) = user_groups.evaluate(table, ["clinic"], 0.5, resamples=200)
    assert found["by"] == "clinic"
    # Numbers by their value, then names; the unknown ones last.
    assert [row["group"] for row in found["rows"]] == ["9", "10", "north", "small", "unknown"]
    gap = found["gap"]
    assert (gap["lowest"], gap["groups"], gap["left_out"], gap["note"]) == ("9", 3, ["small"], "")
    aucs = {row["group"]: row["auc"] for row in found["rows"]}
    assert gap["difference"] == max(aucs["10"], aucs["north"]) - aucs["9"]
    assert 0 < gap["low"] < gap["difference"] < gap["high"]
    worst = table[table["group_clinic"] == "9"]
    assert aucs["9"] == roc.roc_auc(worst["target"], worst["prediction"])
    small = next(row for row in found["rows"] if row["group"] == "small")
    assert small["note"] == "too small: 8 malignant images, 10 needed"
    text = text_report.describe_gap("clinic", gap)
    assert text.startswith(
        f"clinic: largest gap {gap['difference']:.4f} [{gap['low']:.4f}, {gap['high']:.4f}], ROC AUC of"
    )
    assert "of 3 groups (the interval takes no account of this choice); too small to compare: small" in text


def test_words_for_an_unknown_value_are_no_group():
    known = pd.DataFrame({"image_name": list("abcd")})
    labels = known.assign(clinic=["Unknown", "NA", "unknown", "north"])
    assert user_groups.add_columns(known, labels, ["clinic"])["group_clinic"].tolist() == ["", "", "", "north"]


def test_one_group_has_no_gap():
    # Large enough for figures, but not for an interval.
    table = make().assign(group_clinic=["small"] * 36 + ["large"] * 444)
    (found,) = user_groups.evaluate(table, ["clinic"], 0.5, resamples=20)
    assert found["gap"]["difference"] is None
    text = text_report.describe_gap("clinic", found["gap"])
    assert text == "clinic: no gap: fewer than two groups are large enough; too small to compare: small"


def test_columns_come_from_the_tables_or_from_what_was_made_of_them():
    known = pd.DataFrame({"image_name": ["a", "b"], "sex": ["male", ""]})
    labels = pd.DataFrame({"image": ["b", "a"], "Clinic": ["north", None]})
    added = user_groups.add_columns(known, labels, ["clinic", "sex"])
    assert added["group_clinic"].tolist() == ["", "north"]
    assert added["group_sex"].tolist() == ["male", ""]
    assert user_groups.add_columns(known, labels, ()) is known


@pytest.mark.parametrize(
    ("column", "message"),
    [("hospital", r"expected the column hospital \(--groups\)"), ("age", "at most 50 different values .* age has 60")],
)
def test_columns_that_make_no_groups_are_refused(column, message):
    labels = pd.DataFrame({"image_name": [f"i{number}" for number in range(60)], "age": range(60)})
    with pytest.raises(errors.IsicError, match=message):
        user_groups.add_columns(labels[["image_name"]], labels, [column])


def test_every_column_names_the_group_of_each_image_once():
    table = pd.DataFrame({"group_clinic": ["10", "", "9"], "group_room": ["b", "a", "b"]})
    found = user_groups.labels(table, ["clinic", "room", "clinic"])
    assert {name: list(group) for name, group in found.items()} == {
        "clinic": ["10", "unknown", "9"],
        "room": ["b", "a", "b"],
    }
    assert list(found["clinic"].categories) == ["9", "10", "unknown"]
