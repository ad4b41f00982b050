import json
import tempfile

import numpy as np
import pandas as pd
import pytest

from tfrecord_tools import errors
from tfrecord_tools.io import csv_tables, identity
from tfrecord_tools.splits import fold_audit, fold_table, stratified_group_folds


@pytest.fixture
def table(tmp_path):
    """Twelve images of six patients, the second image of every other patient malignant, in shards 0 to 5."""
    rows = [(f"i{number}", f"p{number // 2}", str(number % 4 // 3), str(number // 2)) for number in range(12)]
    path = tmp_path / "train.csv"
    pd.DataFrame(rows, columns=["image_name", "patient_id", "target", "tfrecord"]).to_csv(path, index=False)
    return path


def test_make_writes_every_image_once_and_logs_the_audit(table, tmp_path, capsys):
    returned = fold_table.make_folds(
        fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), num_folds=3, seed=0)
    )
    written = pd.read_csv(tmp_path / "folds.csv")
    pd.testing.assert_frame_equal(returned, written, check_dtype=False)
    assert written["image_name"].tolist() == [f"i{number}" for number in range(12)]
    assert sorted(set(written["fold"])) == [0, 1, 2]
    out = capsys.readouterr().out
    assert "malignant_rate" in out
    assert "note" not in out
    # Three malignant images, of the patients 1, 3 and 5, among twelve.
    audit = returned.attrs["audit"]
    assert audit["leaking_patients"] == audit["images_apart"] == audit["rate_spread"] == 0
    loads = [(row["fold"], row["images"], row["malignant"]) for row in audit["by_fold"]]
    assert loads == [(0, 4, 1), (1, 4, 1), (2, 4, 1)]
    assert json.loads(json.dumps(audit)) == audit


def test_make_keeps_listed_duplicates_in_one_fold_and_counts_those_not_there(table, tmp_path, capsys):
    pairs = tmp_path / "pairs.csv"
    pairs.write_text("image_name_1,image_name_2\ni0,i2\ni3,i4\ni0,gone\n")
    fold_table.make_folds(
        fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), num_folds=2, duplicates=str(pairs))
    )
    written = pd.read_csv(tmp_path / "folds.csv")["fold"]
    # Patients 0, 1 and 2 are one group, so the three others make up the other fold.
    assert written[:6].nunique() == written[6:].nunique() == 1
    out = capsys.readouterr().out
    assert (
        "12 images in 4 groups of patients, lesions and duplicates; the largest has 6 images, linked by 3 patients "
        "(the largest, 'p0', has 2 images) and 3 listed pairs of duplicates (for example 'i0' and 'i2')"
    ) in out
    assert "3 (1 with an image that is not in the table)" in out


def test_duplicates_may_be_in_several_files_and_a_group_larger_than_a_fold_is_noted(table, tmp_path, capsys):
    (tmp_path / "listed.csv").write_text("image_name_1,image_name_2\ni0,I2.jpg\n")
    (tmp_path / "found.csv").write_text("image_name_1,image_name_2,distance\ni3,i4,0.1\ni5,i6,0.2\n")
    folds = fold_table.make_folds(
        fold_table.FoldsConfig(
            csv=str(table),
            output=str(tmp_path / "folds.csv"),
            num_folds=2,
            duplicates=f"{tmp_path}/listed.csv,{tmp_path}/found.csv",
        )
    )
    # Patients 0 to 3 are one group of eight images.
    assert folds["fold"][:8].nunique() == 1
    assert folds.attrs["audit"]["listed_pairs"] == 3
    out = capsys.readouterr().out
    assert "the largest has 8 images, linked by 4 patients" in out
    assert "note: the largest group has more images than a fold's share of 6, so the folds differ in size; if" in out


def test_make_logs_what_a_table_does_not_have(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("image_name,patient_id\na,\nb,\nc,1\n")
    fold_table.make_folds(
        fold_table.FoldsConfig(csv=str(tmp_path / "train.csv"), output=str(tmp_path / "folds.csv"), num_folds=2)
    )
    out = capsys.readouterr().out
    assert "2 images have no patient_id; each counts as a separate patient" in out
    assert "3 images have no target; they count as benign" in out


def test_make_audits_a_file_and_writes_nothing(table, tmp_path, capsys):
    fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), num_folds=2))
    written = capsys.readouterr().out
    before = sorted(tmp_path.iterdir())
    audited = fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), audit=str(tmp_path / "folds.csv")))
    assert audited["fold"].tolist() == pd.read_csv(tmp_path / "folds.csv")["fold"].tolist()
    assert capsys.readouterr().out == written
    assert sorted(tmp_path.iterdir()) == before


def test_make_fails_after_the_audit_of_a_file_that_leaks(table, tmp_path, capsys):
    path, pairs = tmp_path / "folds.csv", tmp_path / "pairs.csv"
    path.write_text("image_name,fold\n" + "".join(f"i{number},{(number + 1) // 2 % 2}\n" for number in range(12)))
    pairs.write_text("image_name_1,image_name_2\ni0,i2\n")
    with pytest.raises(ValueError, match=r"folds\.csv leaks: 6 patients and 1 listed duplicate pairs are in two folds"):
        fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), audit=str(path), duplicates=str(pairs)))
    assert "patients in two folds" in capsys.readouterr().out


@pytest.mark.parametrize(("preset", "expected"), [("deotte15", [0, 1, 2, 3, 4, 5]), ("winners5", [0, 2, 2, 4, 3, 1])])
def test_presets_map_shards_to_folds(table, tmp_path, preset, expected):
    fold_table.make_folds(fold_table.FoldsConfig(csv=str(table), output=str(tmp_path / "folds.csv"), preset=preset))
    assert pd.read_csv(tmp_path / "folds.csv")["fold"][::2].tolist() == expected


def test_a_preset_that_leaks_is_not_written(tmp_path):
    (tmp_path / "train.csv").write_text("image_name,patient_id,target,tfrecord\na,1,0,0\nb,1,0,1\n")
    with pytest.raises(ValueError, match="deotte15 leaks: 1 patients"):
        fold_table.make_folds(
            fold_table.FoldsConfig(
                csv=str(tmp_path / "train.csv"), output=str(tmp_path / "folds.csv"), preset="deotte15"
            )
        )
    assert not (tmp_path / "folds.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "expected either --output, to write folds, or --audit, got neither; give one of them"),
        ({"output": "new.csv", "audit": "folds.csv"}, "or --audit, got both; give one"),
        ({"audit": "folds.csv", "preset": "winners5"}, "expected --audit or --preset, got both"),
        ({"audit": "folds.csv", "num_folds": 5}, "omit --num_folds and --seed"),
        ({"output": "folds.csv", "preset": "winners5", "seed": 0}, "omit --num_folds and --seed"),
        (
            {"output": tempfile.gettempdir(), "csv": "not read"},
            "expected the path of a file to write, got the directory",
        ),
    ],
)
def test_make_refuses_arguments_that_contradict_each_other(table, arguments, message):
    with pytest.raises(ValueError, match=message):
        fold_table.make_folds(fold_table.FoldsConfig(**{"csv": str(table), **arguments}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("image_name,patient_id\na,1\na,2\n", "must list every image once, but repeats 1, for example a"),
        ("image_name,patient_id,target\na,1,0\nb,2,malignant\n", "target must be 0 or 1, got 'malignant'"),
    ],
)
def test_make_refuses_an_invalid_table(tmp_path, text, message):
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        fold_table.make_folds(
            fold_table.FoldsConfig(csv=str(tmp_path / "train.csv"), output=str(tmp_path / "folds.csv"), num_folds=2)
        )


def make(tmp_path, text, **options):
    """Makes folds of a table that is given as text."""
    (tmp_path / "train.csv").write_text(text)
    paths = {"csv": str(tmp_path / "train.csv"), "output": str(tmp_path / "folds.csv")}
    return fold_table.make_folds(fold_table.FoldsConfig(**(paths | options)))


# Eight lesions of three images each, of nobody known.
LESIONS = [(f"i{number}", "", f"L{number // 3}") for number in range(24)]


def as_text(rows, columns="image_name,patient_id,lesion_id"):
    return "\n".join([columns, *(",".join(row) for row in rows)]) + "\n"


@pytest.mark.parametrize("blank", ["", "-1", "unknown", "nan"])
def test_a_lesion_is_in_one_fold_where_no_patient_is_known(tmp_path, blank, capsys):
    rows = [(name, blank, lesion) for name, _, lesion in LESIONS]
    folds = make(tmp_path, as_text(rows), num_folds=2)
    assert folds.groupby(np.arange(24) // 3)["fold"].nunique().max() == 1
    assert folds["fold"].value_counts().tolist() == [12, 12]
    out = capsys.readouterr().out
    assert "24 images in 8 groups of patients, lesions and duplicates; the largest has 3 images" in out
    assert "note: 24 images have no patient_id; each of their lesions counts as a patient" in out
    assert "counts as a separate patient" not in out


def test_a_table_may_have_lesions_in_place_of_patients_but_one_of_the_two(tmp_path):
    rows = [(name, lesion) for name, _, lesion in LESIONS]
    folds = make(tmp_path, as_text(rows, "image_name,lesion_id"), num_folds=4)
    assert folds.groupby(np.arange(24) // 3)["fold"].nunique().max() == 1
    with pytest.raises(ValueError, match=r"needs the columns image_name, patient_id; it has only image_name; add"):
        make(tmp_path, "image_name\na\nb\n", num_folds=2)


def test_patients_and_lesions_are_joined_and_spelled_in_any_way(tmp_path, capsys):
    # P1 by three spellings, a lesion of P1 on a row without a patient, and that image's other name: one group of 5.
    rows = [
        ("a", "P1", "x"),
        ("b", "p1 ", ""),
        ("ISIC_0000001", "", "X"),
        ("isic_1.jpg", "", ""),
        ("c", "P\u200b1", ""),
    ]
    folds = make(tmp_path, as_text([*rows, ("d", "P2", ""), ("e", "007", ""), ("f", "7.0", "")]), num_folds=2)
    assert folds["fold"][:5].nunique() == 1
    assert folds["fold"][6] == folds["fold"][7]
    out = capsys.readouterr().out
    assert "8 images in 3 groups" in out
    assert "train.csv: 5 spellings of patient_id are 2 (for example 'P1' and 'p1')" in out
    assert "train.csv: 2 spellings of image_name are 1 (for example 'ISIC_0000001' and 'isic_1.jpg')" in out


@pytest.mark.parametrize("name", ["ISIC_0000000_downsampled", "isic_0000000.JPG"])
def test_two_names_of_one_photograph_are_in_one_fold_and_an_audit_finds_them_in_two(tmp_path, name):
    text = as_text([("ISIC_0000000", ""), (name, ""), ("b", ""), ("c", "")], "image_name,patient_id")
    for seed in range(4):
        assert make(tmp_path, text, num_folds=3, seed=seed)["fold"][:2].nunique() == 1
    (tmp_path / "folds.csv").write_text(f"image_name,fold\nISIC_0000000,0\n{name},1\nb,0\nc,1\n")
    with pytest.raises(errors.LeakageError, match="leaks: 1 photographs under two names are in two folds"):
        make(tmp_path, text, audit=str(tmp_path / "folds.csv"), output=None)


def test_patients_by_words_for_unknown_are_no_giant_patient(tmp_path, capsys):
    rows = [(f"i{number}", "-1" if number < 16 else f"P{number}", "") for number in range(24)]
    folds = make(tmp_path, as_text(rows), num_folds=3)
    assert folds["fold"].value_counts().tolist() == [8, 8, 8]
    out = capsys.readouterr().out
    assert "train.csv: 16 values of patient_id ('-1') stand for an unknown one and count as blank" in out
    assert "note: 16 images have no patient_id; each counts as a separate patient" in out


@pytest.mark.parametrize("source", ["audit", "preset"])
def test_published_folds_that_split_a_lesion_are_refused(tmp_path, source):
    rows = [("a", "", "x", "0"), ("b", "", "X", "1"), ("c", "", "y", "2")]
    (tmp_path / "other.csv").write_text("image_name,fold\nA.jpg,0\nb,1\nc,2\n")
    options = {"audit": str(tmp_path / "other.csv"), "output": None} if source == "audit" else {"preset": "deotte15"}
    with pytest.raises(errors.LeakageError, match="leaks: 1 lesions are in two folds"):
        make(tmp_path, as_text(rows, "image_name,patient_id,lesion_id,tfrecord"), **options)
    assert not (tmp_path / "folds.csv").exists()


@pytest.fixture(scope="module")
def isic_2019(real_data):
    """The real table of ISIC 2019: 25,331 images, no patients, 11,847 lesions."""
    tables = real_data / "tables"
    table = pd.read_csv(tables / "ISIC_2019_Training_Metadata.csv", dtype=str, keep_default_na=False)
    melanoma = pd.read_csv(tables / "ISIC_2019_Training_GroundTruth.csv")["MEL"].astype(int)
    return table.rename(columns={"image": "image_name"}).assign(patient_id="", target=melanoma)


@pytest.mark.realdata
def test_folds_of_images_alone_split_most_real_lesions_and_the_audit_counts_them(isic_2019):
    targets = isic_2019["target"].to_numpy()
    folds = stratified_group_folds.assign_folds(np.arange(len(targets)), targets, 5)
    table = isic_2019.assign(fold=folds, patient=np.arange(len(targets)))
    figures = fold_audit.audit_folds(table)[1]
    assert (isic_2019.loc[isic_2019["lesion_id"] != "", "lesion_id"].value_counts() > 1).sum() == 5059
    assert (figures["leaking_lesions"], figures["leaking_patients"]) == (4518, 0)


@pytest.mark.realdata
def test_no_real_lesion_of_ham10000_is_in_two_folds(isic_2019, tmp_path, capsys):
    table = isic_2019[isic_2019["lesion_id"].str.startswith("HAM_")]
    assert (table["lesion_id"].value_counts() > 1).sum() == 1956
    folds = make(tmp_path, table.to_csv(index=False), num_folds=5)
    assert folds.groupby(table["lesion_id"].to_numpy())["fold"].nunique().max() == 1
    assert folds.attrs["audit"]["leaking_lesions"] == 0
    assert folds.attrs["audit"]["images_apart"] <= 2
    assert "10015 images in 7470 groups of patients, lesions and duplicates; the largest has 6 images" in (
        capsys.readouterr().out
    )


@pytest.fixture(scope="module")
def real_tables(real_data):
    """The images of ISIC 2017, HAM10000 (with the test of ISIC 2018), ISIC 2019 and ISIC 2020 v2, by set."""
    tables = real_data / "tables"
    paths = {
        "2017": tables / "ISIC-2017_Training_Data_metadata.csv",
        "2018": real_data / "ham10000" / "train.csv",
        "2019": tables / "ISIC_2019_Training_Metadata.csv",
        "2020": tables / "ISIC_2020_Training_GroundTruth_v2.csv",
    }
    found = {}
    for name, path in paths.items():
        table = csv_tables.read_table(str(path), ("image_name",))
        found[name] = table.reindex(columns=["image_name", "patient_id", "lesion_id"], fill_value="")
    return found


@pytest.mark.realdata
def test_the_real_tables_overlap_as_known(real_tables):
    names = {year: table["image_name"] for year, table in real_tables.items()}
    keys = {year: set(identity.image_keys(table)) for year, table in names.items()}
    assert {year: len(found) for year, found in keys.items()} == {
        "2017": 2000, "2018": 7496, "2019": 25331, "2020": 33126,
    }  # fmt: skip
    # Where names are compared as they are, only 717 of these 2,000 are found.
    assert len(keys["2017"] & keys["2019"]) == 2000
    assert names["2017"].isin(names["2019"]).sum() == 717
    assert (names["2017"] + "_downsampled").isin(names["2019"]).sum() == 1283
    lesions = real_tables["2019"]["lesion_id"]
    assert (lesions.str.startswith("HAM_").sum(), (lesions == "").sum()) == (10015, 2084)
    assert lesions[lesions != ""].value_counts().max() == 31
    assert len(keys["2018"] - keys["2019"]) == 1512
    assert (real_tables["2020"]["lesion_id"].value_counts() == 2).sum() == 425


@pytest.mark.realdata
def test_no_photograph_of_the_real_tables_stands_in_two_folds_under_two_names(real_tables, real_data, tmp_path, capsys):
    listed = real_data / "isic2020" / "ISIC_2020_Training_Duplicates.csv"
    table = pd.concat(real_tables.values(), ignore_index=True)
    # One image of two tables has a row in each.
    table = table.groupby("image_name", sort=False, as_index=False).max()
    folds = make(tmp_path, table.to_csv(index=False), num_folds=5, duplicates=str(listed))
    photographs = identity.image_keys(folds["image_name"])
    assert (len(folds), photographs.nunique()) == (25331 + 33126 + 1512 + 1283, 25331 + 33126 + 1512)
    assert folds.groupby(photographs)["fold"].nunique().max() == 1
    fold_of_image = folds.set_index("image_name")["fold"]
    pairs = pd.read_csv(listed)
    assert (pairs["image_name_1"].map(fold_of_image) == pairs["image_name_2"].map(fold_of_image)).all()
    for column in ("patient_id", "lesion_id"):
        known = table[column] != ""
        assert folds[known].groupby(table.loc[known, column])["fold"].nunique().max() == 1
    audit = folds.attrs["audit"]
    leaking = ("leaking_patients", "leaking_lesions", "leaking_photographs", "leaking_pairs")
    assert (*(audit[kind] for kind in leaking), audit["absent_pairs"]) == (0, 0, 0, 0, 0)
    assert "the largest has 115 images, linked by patient 'IP_" in capsys.readouterr().out
    # All but 8 of the listed pairs are of one lesion, too.
    lesions = real_tables["2020"].set_index("image_name")["lesion_id"]
    assert (pairs["image_name_1"].map(lesions) == pairs["image_name_2"].map(lesions)).sum() == 417


@pytest.mark.realdata
def test_lesions_of_pad_ufes_20_do_not_chain_its_patients(real_data, tmp_path, capsys):
    table = pd.read_csv(real_data / "tables" / "PAD-UFES-20_metadata.csv", dtype=str)
    table = table[["img_id", "patient_id", "lesion_id"]].set_axis(["image_name", "patient_id", "lesion_id"], axis=1)
    folds = make(tmp_path, table.to_csv(index=False), num_folds=5)
    assert folds.groupby(table["patient_id"])["fold"].nunique().max() == 1
    out = capsys.readouterr().out
    assert "lesion_id is no key by itself: 250 of 1641 lesions, 512 of them with several images, are of several" in out
    assert f"2298 images in {table['patient_id'].nunique()} groups of patients, lesions and duplicates" in out


@pytest.mark.realdata
def test_published_tables_as_they_are_make_folds_in_which_no_photograph_has_two(real_data, tmp_path, capsys):
    names = (
        "ISIC-2017_Training_Data_metadata",
        "ISIC-2017_Training_Part3_GroundTruth",
        "ISIC_2019_Training_GroundTruth",
        "ISIC_2019_Training_Metadata",
        "ISIC_2020_Training_GroundTruth_v2",
    )
    paths = ",".join(str(real_data / "tables" / f"{name}.csv") for name in names)
    config = fold_table.FoldsConfig(csv=paths, output=str(tmp_path / "folds.csv"), num_folds=5)
    folds = fold_table.make_folds(config)
    photographs = identity.image_keys(folds["image_name"])
    # All but the 867 actinic keratoses of 2019, which are indeterminate; 1,283 photographs have a row in both sets.
    assert (len(folds), photographs.nunique()) == (25331 + 1283 - 867 + 33126, 25331 - 867 + 33126)
    assert folds.groupby(photographs)["fold"].nunique().max() == 1
    assert "the largest has 115 images, linked by patient 'IP_" in capsys.readouterr().out
