import pandas as pd
import pytest

from tfrecord_tools.io import csv_tables
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


def test_count_of_a_case_worked_by_hand():
    assert fold_audit.count(FOLDS, PATIENTS, TARGETS).tolist() == [
        [1, 5, 2, 2, 3, 0, *[0] * 11],
        [2, 5, 1, 0, 0, 5, *[0] * 11],
    ]


@pytest.mark.parametrize(("images", "place"), [(1, 0), (2, 0), (3, 1), (12, 5), (13, 6), (200, 12), (201, 13)])
def test_a_bin_of_images_per_patient_holds_its_upper_edge(images, place):
    cells = fold_audit.count([0] * images, [0] * images, [0] * images)[0, 3:]
    assert cells[place] == images == cells.sum()


def test_audit_of_a_case_worked_by_hand():
    # Rates 1/5 and 2/5, so 0.2 apart of a mean of 0.3. Shares of images per patient: 2/5 and 3/5 in the first two bins
    # in fold 0, all in the third in fold 1; each is half of 0.2 + 0.3 + 0.5 from the mean.
    by_fold, figures = fold_audit.audit(make_table(FOLDS))
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
        "images_in_no_fold": 0,
    }


def test_audit_leaves_out_images_in_no_fold_and_keeps_the_numbers_of_folds():
    # Without C's last two images the folds 2 and 7 hold 5 and 3, mean 4, and C has 3 images, as B.
    by_fold, figures = fold_audit.audit(make_table([2] * 5 + [7] * 3 + [-1] * 2))
    assert by_fold["images"].to_dict() == {2: 5, 7: 3}
    assert figures["images_spread"] == pytest.approx(0.5)
    assert figures["total_variation"] == pytest.approx(0.2)
    assert figures["images_in_no_fold"] == 2


def test_audit_of_benign_images_alone_has_no_spread_of_rates():
    _, figures = fold_audit.audit(make_table(FOLDS, target=[0] * 10))
    assert figures["rate_spread"] == 0


def test_audit_finds_patients_and_pairs_in_two_folds():
    # i0 of A is in fold 1; i9 in none, so that its pair is in no two folds.
    table = make_table([1, *[0] * 4, *[1] * 4, -1])
    pairs = make_pairs(("i1", "i5"), ("i2", "i3"), ("i2", "i9"), ("i0", "gone"))
    _, figures = fold_audit.audit(table, pairs)
    assert figures["leaking_patients"] == 1
    assert [figures[name] for name in ("listed_pairs", "absent_pairs", "leaking_pairs")] == [4, 1, 1]


def test_audit_refuses_a_table_with_no_image_in_a_fold():
    with pytest.raises(ValueError, match="got 10 images and all of them in no fold"):
        fold_audit.audit(make_table([-1] * 10))


def test_show_prints_folds_and_figures(capsys):
    fold_audit.show(*fold_audit.audit(make_table([0] * 5 + [1] * 4 + [-1]), make_pairs(("i0", "i5"))))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["images", "patients", "malignant", "malignant_rate", "total_variation"]
    assert lines[3].split()[:5] == ["1", "4", "1", "2", "0.50000"]
    shown = dict(line.split("  ", 1) for line in lines[4:])
    assert {name: value.strip() for name, value in shown.items()} == {
        # Rates 0.2 and 0.5; 5 and 4 images; B has 3 images and C 4, so one bin, and A's 2 of 5 are 0.2 from the mean.
        "malignant rate, (max - min) / mean": "0.85714",
        "images apart": "1 (22.22% of the mean)",
        "patients apart": "1",
        "images per patient, greatest total variation": "0.20000",
        "patients in two folds": "0",
        "listed duplicate pairs": "1 (0 with an image not in the table)",
        "listed duplicate pairs in two folds": "1",
        "images in no fold": "1",
    }


def test_parse_takes_whole_numbers_and_blanks_alone():
    assert fold_audit.parse("the column", pd.Series(["0", "-1", "", "12.0"])).tolist() == [0, -1, -1, 12]
    with pytest.raises(
        ValueError, match="the column must hold folds from 0, or -1 or a blank for none; not so '-2', '1.5'"
    ):
        fold_audit.parse("the column", pd.Series(["0", "-2", "1.5"]))


def test_read_takes_an_index_joins_by_name_and_says_what_differs(tmp_path, capsys):
    path = tmp_path / "train.index.csv"
    path.write_text(
        "shard,position,image_name,patient_id,target,fold\n"
        "train00-3.tfrec,0,b,p,1,1\ntrain00-3.tfrec,1,a,q,0,0\ntrain00-3.tfrec,2,x,q,0,\n"
    )
    assert fold_audit.read(str(path), pd.Series(["a", "b", "c"])).tolist() == [0, 1, -1]
    out = capsys.readouterr().out
    assert f"1 images of the table are not in {path}: 'c'" in out
    assert f"1 images that the table lacks are in {path}: 'x'" in out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,0\na,1\n", "must list every image once, 1 come again, a first"),
        ("x,0\n", "holds none of the table's 2 images, its first is 'x'; check both paths"),
        ("a,one\n", "must hold folds from 0, or -1 or a blank for none; not so 'one'"),
    ],
)
def test_read_refuses_files_that_are_no_folds_of_the_table(tmp_path, text, message):
    (tmp_path / "folds.csv").write_text(f"image_name,fold\n{text}")
    with pytest.raises(ValueError, match=message):
        fold_audit.read(str(tmp_path / "folds.csv"), pd.Series(["a", "b"]))


# Deotte's shards, and the folds that the winners made of them, in which 434 images (the listed duplicates) are in none.
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
    _, figures = fold_audit.audit(table, csv_tables.read_pairs(str(folder / "ISIC_2020_Training_Duplicates.csv")))
    found = [figures[name] for name in ("rate_spread", "images_apart", "patients_apart", "total_variation")]
    assert found == pytest.approx(expected, abs=5e-5)
    assert figures["images_in_no_fold"] == 434
    assert figures["leaking_patients"] == figures["leaking_pairs"] == figures["absent_pairs"] == 0
