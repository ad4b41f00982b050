"""A table of each published format, with rows of our own making, becomes the rows that were worked out by hand."""

import published_tables
import pytest
from table_makers import make_raw

from tfrecord_tools.table_formats import normalization, raw_table
from tfrecord_tools.table_formats.config import TablesConfig


def normalize(*tables, **options):
    raw = [make_raw(*lines, path=f"{place}.csv") for place, lines in enumerate(tables)]
    return normalization.normalize(raw, TablesConfig(tables=("none.csv",), **options))


def find_target(*tables, name="a", **options):
    """The target of an image; None where it is left out."""
    found, _ = normalize(*tables, **options)
    return dict(zip(found["image_name"], found["target"], strict=True)).get(name)


@pytest.mark.parametrize("case", published_tables.CASES)
def test_a_table_becomes_the_rows_worked_out_by_hand(case):
    formats, tables, expected = published_tables.CASES[case]
    table, report = normalize(*tables, policy="malignant")
    assert [each.table_format.name for each in report.tables] == formats
    rows = table.reindex(columns=published_tables.COLUMNS, fill_value="").agg("|".join, axis=1)
    assert rows.tolist() == expected
    assert report.not_understood == []
    source = "isic_archive" if case.startswith("archive") else case.split()[0]
    assert set(table["source"]) == {"pad_ufes_20" if case == "pad" else source}


def test_the_hierarchy_of_2018_and_ham10000_leaves_akiec_open():
    rows = ["image,MEL,NV,BCC,AKIEC,BKL,DF,VASC", "a,0,0,0,1,0,0,0", "b,0,1,0,0,0,0,0"]
    ham = ["lesion_id,image_id,dx,localization", "HAM_1,a,akiec,ear", "HAM_2,b,nv,ear"]
    for table in (rows, ham):
        for policy in ("melanoma", "malignant"):
            assert find_target(table, policy=policy) is None
        assert find_target(table, policy="malignant", indeterminate="malignant") == "1"
        assert normalize(table, indeterminate="benign")[0]["diagnosis"].tolist() == ["actinic keratosis", "nevus"]


MILK10K = (
    [
        "lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC",
        *(f"IL_{name},1" + 10 * ",0" for name in "abc"),
    ],
    ["lesion_id,image_type,isic_id,skin_tone_class,site", *(f"IL_{name},dermoscopic,{name},3,trunk" for name in "abc")],
)
SUPPLEMENT = [
    "isic_id,diagnosis_full",
    'a,"Squamous cell carcinoma in situ, Bowens disease"',
    "b,Solar or actinic keratosis",
]


def test_akiec_of_milk10k_is_decided_by_the_supplement():
    table, report = normalize(*MILK10K, SUPPLEMENT, policy="malignant")
    assert table[["image_name", "target"]].to_numpy().tolist() == [["a", "1"]]
    assert report.dropped == {"its diagnosis is indeterminate": ["b", "c"]}
    assert find_target(*MILK10K, SUPPLEMENT) == "0"
    archive = ["isic_id,diagnosis_1,diagnosis_3", "a,Malignant,Squamous cell carcinoma in situ"]
    assert find_target(*MILK10K, archive, policy="malignant") == "1"
    assert find_target(*MILK10K, policy="malignant", indeterminate="benign") == "0"


def test_other_malignant_lesions_of_milk10k_are_no_melanoma_but_those_of_the_archive_may_be():
    truth = ["lesion_id,AKIEC,BCC,BEN_OTH,BKL,DF,INF,MAL_OTH,MEL,NV,SCCKA,VASC", "IL_a,0,0,0,0,0,0,1,0,0,0,0"]
    collision = "Collision - At least one malignant proliferation"
    for tables in ((truth, MILK10K[1]), (truth, MILK10K[1], ["isic_id,diagnosis_full", f"a,{collision}"])):
        assert find_target(*tables) == "0"
        assert find_target(*tables, policy="malignant") == "1"
    archive = ["isic_id,diagnosis_1,diagnosis_2", f"a,Malignant,{collision}", "b,Benign,Cysts"]
    assert find_target(archive, policy="malignant") == "1"
    table, report = normalize(archive)
    assert table["image_name"].tolist() == ["b"]
    assert list(report.dropped) == ["its diagnosis is malignant, but leaves open whether it is a melanoma"]
    assert find_target(archive, indeterminate="malignant") == "1"


@pytest.mark.parametrize("policy", ["melanoma", "malignant"])
def test_the_atypical_melanocytic_proliferation_of_2020_is_benign(policy):
    table = [
        "image_name,patient_id,diagnosis,benign_malignant,target",
        "a,IP_1,atypical melanocytic proliferation,benign,0",
    ]
    assert find_target(table, policy=policy) == "0"
    archive = [
        "isic_id,benign_malignant,diagnosis",
        "a,indeterminate,atypical melanocytic proliferation",
        "b,benign,nevus",
    ]
    assert find_target(archive, policy=policy) is None


@pytest.mark.parametrize("policy", ["melanoma", "malignant"])
@pytest.mark.parametrize(
    "names", ["isic_id,benign_malignant,diagnosis", "name,meta.clinical.benign_malignant,meta.clinical.diagnosis"]
)
def test_the_word_benign_of_an_old_download_does_not_decide_an_indeterminate_diagnosis(names, policy):
    table = [names, "a,benign,actinic keratosis", "b,benign,nevus", "c,malignant,melanoma"]
    found, report = normalize(table, policy=policy)
    assert found["target"].tolist() == ["0", "1"]
    assert list(report.dropped.items()) == [("its diagnosis is indeterminate", ["a"])]
    assert any("is not used for 1 rows whose diagnosis is indeterminate" in note for note in report.notes)
    assert find_target(table, policy=policy, indeterminate="malignant") == "1"


@pytest.mark.parametrize("policy", ["melanoma", "malignant"])
def test_the_atypical_nevus_of_ph2_is_benign(policy):
    assert find_target(["Image Name,Common Nevus,Atypical Nevus,Melanoma", "a,,X,"], policy=policy) == "0"
    assert find_target(["Name,Histological Diagnosis,Clinical Diagnosis,Asymmetry", "a,,1,0"], policy=policy) == "0"


def test_scc_of_pad_ufes_20_is_malignant_and_ack_is_indeterminate():
    table = ["patient_id,lesion_id,diagnostic,img_id", "PAT_1,1,SCC,a.png", "PAT_1,2,ACK,b.png", "PAT_2,1,NEV,c.png"]
    assert find_target(table, policy="malignant") == "1"
    assert find_target(table, policy="melanoma") == "0"
    assert find_target(table, policy="malignant", name="b") is None


def test_derm7pt_spells_melanoma_in_six_ways():
    words = ["melanoma", "melanoma (in situ)", "melanoma (less than 0.76 mm)", "melanoma (0.76 to 1.5 mm)"]
    words += ["melanoma (more than 1.5 mm)", "melanoma metastasis", "melanosis", "miscellaneous", "lentigo"]
    rows = [f"{number},{word},1,N/n{number}.jpg" for number, word in enumerate(words)]
    for policy in ("melanoma", "malignant"):
        table, report = normalize(["case_num,diagnosis,seven_point_score,derm", *rows], policy=policy)
        assert table["target"].tolist() == ["1"] * 6 + ["0"] * 3
        assert report.not_understood == []


def test_the_target_of_2024_counts_indeterminate_as_benign():
    header = "isic_id,target,tbp_lv_areaMM2,iddx_1,iddx_3"
    table = [
        header,
        "a,0,1,Indeterminate,Solar or actinic keratosis",
        "b,1,1,Malignant,Basal cell carcinoma",
        "c,1,1,Malignant,",
    ]
    found, report = normalize(table, policy="malignant")
    assert found["target"].tolist() == ["0", "1", "1"]
    assert any("their table's own" in note for note in report.notes)
    found, report = normalize(table, policy="melanoma")
    assert found["target"].tolist() == ["0", "0"]
    assert sum(report.count_dropped().values()) == 1
    # The supplement alone has no truth of its own.
    assert (
        find_target(["isic_id,iddx_1,iddx_3", *(row.replace(",0,1,", ",") for row in table[1:2]), "z,Benign,"]) is None
    )


def test_a_malignant_image_of_the_archive_without_a_diagnosis_is_no_target_for_melanoma():
    for table in (
        ["isic_id,benign_malignant", "a,malignant", "b,benign"],
        ["isic_id,diagnosis_1", "a,Malignant", "b,Benign"],
    ):
        assert find_target(table) is None
        assert find_target(table, policy="malignant") == "1"
        assert find_target(table, name="b") == "0"


def test_kaggles_test_table_of_2020_has_the_columns_of_the_package():
    table, report = normalize(
        ["image_name,patient_id,sex,age_approx,anatom_site_general_challenge", "a,IP_1,male,70.0,torso"]
    )
    assert report.tables[0].table_format.name == "isic_tf"
    assert table["age_approx"].tolist() == ["70"]
    assert "target" not in table


REAL = {
    "ISIC-2017_Training_Part3_GroundTruth.csv,ISIC-2017_Training_Data_metadata.csv": ("melanoma", 2000, 374, 0),
    "ISIC_2019_Training_GroundTruth.csv,ISIC_2019_Training_Metadata.csv": ("melanoma", 25331, 4522, 867),
    "ISIC_2020_Training_GroundTruth_v2.csv": ("melanoma", 33126, 584, 0),
    "PAD-UFES-20_metadata.csv": ("malignant", 2298, 845 + 192 + 52, 730),
}
MILK10K_FILES = "MILK10k_Training_Metadata.csv,MILK10k_Training_GroundTruth.csv,MILK10k_Training_Supplement.csv"


def normalize_files(folder, files, **options):
    raw = [raw_table.make_raw(name, (folder / "tables" / name).read_bytes()) for name in files.split(",")]
    return normalization.normalize(raw, TablesConfig(tables=("none.csv",), **options))


@pytest.mark.realdata
@pytest.mark.parametrize("files", REAL)
def test_the_real_tables_have_their_counts(real_data, files):
    policy, images, positive, dropped = REAL[files]
    table, report = normalize_files(real_data, files, policy=policy)
    assert report.num_images == images
    assert (table["target"] == "1").sum() == positive
    assert sum(report.count_dropped().values()) == dropped
    assert report.not_understood == []


@pytest.mark.realdata
@pytest.mark.parametrize(("policy", "lesions"), [("melanoma", 450), ("malignant", 3634)])
@pytest.mark.parametrize("files", [MILK10K_FILES, "isic_cli_metadata.csv"])
def test_the_real_milk10k_has_its_counts_of_lesions(real_data, files, policy, lesions):
    table, report = normalize_files(real_data, files, policy=policy)
    assert report.num_images == 10480
    assert table.loc[table["target"] == "1", "lesion_id"].nunique() == lesions
    assert len(report.dropped["its diagnosis is indeterminate"]) == 2 * 123
    assert report.not_understood == []
