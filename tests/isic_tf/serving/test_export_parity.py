import numpy as np
import pandas as pd
import pytest

from isic_tf.serving import export_parity


def test_a_comparison_is_as_by_hand():
    rows = pd.DataFrame({"image_name": list("abcd"), "patient_id": ["p", "q", "", "r"], "target": [0, 1, 0, 1]})
    before, after = np.float32([0.1, 0.8, 0.2, 0.9]), np.float32([0.1, 0.8, 0.85, 0.9])
    table = export_parity.compare(rows, before, {"int8": after})
    # All four pairs are right before; of the benign c and the malignant b the order is wrong after.
    assert table["auc"].tolist() == [1, 0.75]
    assert table["drop"].tolist() == [0, 0.25]
    assert table["difference"].tolist() == [0, pytest.approx(0.65)]
    assert table["drop_low"].isna().all()
    cells = ["int8", "1.5", "6.5e-01", "0.7500", "0.2500", "no interval: fewer than 10 patients of a class"]
    assert export_parity.tabulate({"int8": 1.5}, table)[2] == cells
    many = pd.concat([rows.assign(patient_id=[f"{n}{k}" for k in range(4)]) for n in range(10)], ignore_index=True)
    many["image_name"] = many.index.astype(str)
    table = export_parity.compare(many, np.tile(before, 10), {"same": np.tile(before, 10), "int8": np.tile(after, 10)})
    assert table.loc[1, ["drop_low", "drop_high"]].tolist() == [0, 0]
    assert 0 < table.loc[2, "drop_low"] < 0.25 < table.loc[2, "drop_high"] < 0.5


def test_without_labels_only_the_predictions_are_compared():
    rows = pd.DataFrame({"image_name": ["a", "b"]})
    table = export_parity.compare(rows, np.float32([0.5, 0.25]), {"float32": np.float32([0.5, 0.5])})
    assert table.to_dict("list") == {"form": ["run", "float32"], "images": [2, 2], "difference": [0.0, 0.25]}
    assert export_parity.tabulate({"float32": 0.25}, table) == [
        ["form", "size, MB", "largest difference"],
        ["run", "", "0.0e+00"],
        ["float32", "0.2", "2.5e-01"],
    ]


def test_without_records_only_the_sizes_are_listed():
    assert export_parity.tabulate({"saved_model": 21.27}) == [["form", "size, MB"], ["saved_model", "21.3"]]


def test_every_form_that_differs_too_much_is_described():
    columns = {"form": ["run", "float16", "int8"], "difference": [0, 0.009, 0.4]}
    table = pd.DataFrame(columns)
    assert export_parity.find_faults(table) == [
        "a probability of int8 differs from the run by up to 4.0e-01, more than 0.1"
    ]
    table = table.assign(difference=0.0, drop=[0, 0.02, 0.009])
    assert export_parity.find_faults(table) == [
        "the ROC AUC of float16 is 0.0200 below that of the run, more than 0.01"
    ]


def test_patients_have_no_roc_auc():
    rows = pd.DataFrame({"image_name": list("ab"), "patient_id": ["p", "q"], "target": [0, 1]})
    table = export_parity.compare(rows, np.float32([0.1, 0.8]), {"saved_model": np.float32([0.1, 0.8])})
    patients = export_parity.compare(rows[["image_name"]], np.zeros(2), {"patient": np.full(2, 2e-4)}).iloc[1:]
    table = pd.concat([table, patients], ignore_index=True)
    assert export_parity.tabulate({"saved_model": 9.0}, table)[-1] == ["patient", "", "2.0e-04", "", "", ""]
    assert export_parity.find_faults(table) == [
        "a probability of patient differs from the run by up to 2.0e-04, more than 0.0001"
    ]
