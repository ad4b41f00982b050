import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import errors
from tfrecord_tools.io import duplicate_pairs
from tfrecord_tools.splits import fold_audit, published_folds, stratified_group_folds

# Fold 0: patient A with 2 images, one malignant, and B with 3; fold 1: C with 5, two malignant.
PATIENTS = [0, 0, 1, 1, 1, 2, 2, 2, 2, 2]
TARGETS = [1, 0, 0, 0, 0, 1, 1, 0, 0, 0]
FOLDS = [0] * 5 + [1] * 5


def make_table(fold, patient=PATIENTS, target=TARGETS):
    names = [f"i{number}" for number in range(len(fold))]
    return pd.DataFrame({"image_name": names, "patient": patient, "target": target, "fold": fold})


def make_pairs(*pairs):
    return pd.DataFrame(pairs, columns=["image_name_1", "image_name_2"])


def test_loads_of_a_case_worked_by_hand():
    assert fold_audit.count_loads(FOLDS, PATIENTS, TARGETS).tolist() == [
        [1, 5, 2, 2, 3, 0, *[0] * 11],
        [2, 5, 1, 0, 0, 5, *[0] * 11],
    ]


@pytest.mark.parametrize(("images", "place"), [(1, 0), (2, 0), (3, 1), (12, 5), (13, 6), (200, 12), (201, 13)])
def test_a_bin_of_images_per_patient_holds_its_upper_edge(images, place):
    cells = fold_audit.count_loads([0] * images, [0] * images, [0] * images)[0, 3:]
    assert cells[place] == images == cells.sum()


def test_audit_of_a_case_worked_by_hand():
    # Rates 1/5 and 2/5, so 0.2 apart of a mean of 0.3. Shares of images per patient: 2/5 and 3/5 in the first two bins
    # in fold 0, all in the third in fold 1; each is half of 0.2 + 0.3 + 0.5 from the mean.
    by_fold, figures = fold_audit.audit_folds(make_table(FOLDS))
    assert by_fold.to_dict("list") == {
        "images": [5, 5],
        "patients": [2, 1],
        "malignant": [1, 2],
        "malignant_rate": [0.2, 0.4],
        "total_variation": pytest.approx([0.5, 0.5]),
    }
    assert figures == {
        "rate_spread": pytest.approx(2 / 3),
        "images_spread": 0,
        "images_apart": 0,
        "patients_apart": 1,
        "total_variation": pytest.approx(0.5),
        "leaking_patients": 0,
        "leaking_lesions": 0,
        "leaking_photographs": 0,
        "images_in_no_fold": 0,
    }


def test_audit_ignores_images_without_a_fold_and_keeps_fold_numbers():
    # Without C's last two images the folds 2 and 7 hold 5 and 3, mean 4, and C has 3 images, as B.
    by_fold, figures = fold_audit.audit_folds(make_table([2] * 5 + [7] * 3 + [-1] * 2))
    assert by_fold["images"].to_dict() == {2: 5, 7: 3}
    assert figures["images_spread"] == pytest.approx(0.5)
    assert figures["total_variation"] == pytest.approx(0.2)
    assert figures["images_in_no_fold"] == 2


def test_audit_of_benign_images_alone_has_no_spread_of_rates():
    _, figures = fold_audit.audit_folds(make_table(FOLDS, target=[0] * 10))
    assert figures["rate_spread"] == 0


def test_audit_finds_patients_and_pairs_in_two_folds():
    # i0 of A is in fold 1; i9 is without a fold, so its pair does not leak.
    table = make_table([1, *[0] * 4, *[1] * 4, -1])
    pairs = make_pairs(("i1", "i5"), ("i2", "i3"), ("i2", "i9"), ("i0", "gone"))
    _, figures = fold_audit.audit_folds(table, pairs)
    assert figures["leaking_patients"] == 1
    assert [figures[name] for name in ("listed_pairs", "absent_pairs", "leaking_pairs")] == [4, 1, 1]


def test_audit_finds_lesions_and_photographs_in_two_folds_and_names_in_any_spelling():
    # The lesion y of two images is split, x is not; i5 is i0 under another name; one pair is in small letters.
    table = make_table([0, 0, 1, 1, 0, 1], patient=range(6), target=[0] * 6)
    table = table.assign(patient_id="", lesion_id=["x", "X ", "y", "-1", "y", "unknown"])
    table["image_name"] = ["ISIC_0000001", "ISIC_0000002", "b", "c", "d", "isic_1_downsampled"]
    _, figures = fold_audit.audit_folds(table, make_pairs(("isic_0000002.jpg", "B"), ("C", "gone")))
    counts = [figures[f"leaking_{kind}"] for kind in ("patients", "lesions", "photographs", "pairs")]
    assert counts == [0, 1, 1, 1]
    assert figures["absent_pairs"] == 1


def test_audit_refuses_a_table_with_no_image_in_a_fold():
    with pytest.raises(
        ValueError, match="expected images in folds from 0, but all 10 images are without a fold; check the folds file"
    ):
        fold_audit.audit_folds(make_table([-1] * 10))


def test_the_log_has_folds_and_figures(capsys):
    fold_audit.log_audit(*fold_audit.audit_folds(make_table([0] * 5 + [1] * 4 + [-1]), make_pairs(("i0", "i5"))))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["images", "patients", "malignant", "malignant_rate", "total_variation"]
    assert lines[3].split()[:5] == ["1", "4", "1", "2", "0.50000"]
    shown = dict(line.split("  ", 1) for line in lines[4:])
    assert {name: value.strip() for name, value in shown.items()} == {
        # Rates 0.2 and 0.5; 5 and 4 images; B has 3 images and C 4, so one bin, and A's 2 of 5 are 0.2 from the mean.
        "malignant rate, (max - min) / mean": "0.85714",
        "images, max - min": "1 (22.22% of the mean)",
        "patients, max - min": "1",
        "images per patient, largest total variation": "0.20000",
        "patients in two folds": "0",
        "lesions in two folds": "0",
        "photographs under two names in two folds": "0",
        "listed duplicate pairs": "1 (0 with an image that is not in the table)",
        "listed duplicate pairs in two folds": "1",
        "images without a fold": "1",
    }


def test_deviations_of_a_case_worked_by_hand():
    # Rates 1/5 and 2/5, mean 3/10; images 5 and 5; patients 2 and 1, mean 3/2; distance 0.5, see the audit above.
    loads = fold_audit.count_loads(FOLDS, PATIENTS, TARGETS)
    deviations = fold_audit.compute_deviations(loads)
    assert deviations == pytest.approx(np.array([[-1 / 3, 0, 1 / 3, 0.5], [1 / 3, 0, -1 / 3, 0.5]]))
    assert fold_audit.compute_spread(deviations) == pytest.approx(np.array([2 / 3, 0, 2 / 3, 0.5]))


@pytest.mark.parametrize(
    ("counts", "leaks"),
    [
        ({"patients": 1}, "1 patients"),
        ({"patients": 0, "pairs": 2}, "2 listed duplicate pairs"),
        ({"patients": 3, "pairs": 4}, "3 patients and 4 listed duplicate pairs"),
        ({"lesions": 5, "photographs": 6}, "5 lesions and 6 photographs under two names"),
    ],
)
def test_folds_that_leak_are_refused_with_all_counts(counts, leaks):
    figures = {f"leaking_{kind}": count for kind, count in counts.items()}
    with pytest.raises(errors.LeakageError, match=f"f.csv leaks: {leaks} are in two folds; create new folds"):
        fold_audit.refuse_leaks("f.csv", figures)


def test_folds_without_leaks_are_not_refused():
    fold_audit.refuse_leaks("f.csv", {"leaking_patients": 0})
    fold_audit.refuse_leaks("f.csv", {"leaking_patients": 0, "leaking_pairs": 0})


# Deotte's shards, and the folds that the winners made of them. 434 images (the listed duplicates) have no fold.
@pytest.mark.realdata
@pytest.mark.parametrize(
    ("preset", "expected"), [("winners5", (0.0081, 40, 1, 0.0211)), ("deotte15", (0.0529, 31, 1, 0.0515))]
)
def test_audit_gives_the_figures_of_the_published_folds(real_data, preset, expected):
    folder = real_data / "isic2020"
    table = pd.read_csv(folder / "train_cdeotte.csv", dtype=str, keep_default_na=False)
    table = table.assign(
        patient=stratified_group_folds.group_codes(table["patient_id"]),
        target=table["target"].astype(int),
        fold=published_folds.preset_folds(table["tfrecord"], preset),
    )
    _, figures = fold_audit.audit_folds(
        table, duplicate_pairs.read_pairs(str(folder / "ISIC_2020_Training_Duplicates.csv"))
    )
    found = [figures[name] for name in ("rate_spread", "images_apart", "patients_apart", "total_variation")]
    assert found == pytest.approx(expected, abs=5e-5)
    assert figures["images_in_no_fold"] == 434
    assert figures["leaking_patients"] == figures["leaking_pairs"] == figures["absent_pairs"] == 0
