"""Tables in memory become a training table, from recognition to targets."""

import pytest
from table_makers import make_raw

from tfrecord_tools import errors
from tfrecord_tools.table_formats import normalization
from tfrecord_tools.table_formats.config import TablesConfig

TRUTH = make_raw(
    "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK",
    "a,1,0,0,0,0,0,0,0,0",
    "b,0,1,0,0,0,0,0,0,0",
    "c,0,0,1,0,0,0,0,0,0",
    "d,0,0,0,1,0,0,0,0,0",
    "e,0,0,0,0,0,0,0,0,1",
    path="truth.csv",
)
METADATA = make_raw(
    "image,age_approx,anatom_site_general,lesion_id,sex",
    "a,45.0,anterior torso,BCN_1,female",
    "b,,lower extremity,,male",
    "c,abc,,BCN_1,",
    path="metadata.csv",
)


def normalize(*raw, **options):
    return normalization.normalize(raw, TablesConfig(tables=("none.csv",), **options))


def test_truth_and_metadata_become_the_columns_of_the_package():
    table, report = normalize(TRUTH, METADATA)
    assert list(table) == list(normalization.COLUMNS)
    assert table.iloc[0].to_dict() == {
        "image_name": "a",
        "patient_id": "",
        "lesion_id": "BCN_1",
        "sex": "female",
        "age_approx": "45",
        "anatom_site_general_challenge": "torso",
        "diagnosis": "melanoma",
        "target": "1",
        "source": "isic2019",
        "image_type": "dermoscopic",
        "diagnosis_source": "MEL",
    }
    assert table["image_name"].tolist() == ["a", "b", "c"]
    assert table["target"].tolist() == ["1", "0", "0"]
    assert report.count_dropped() == {"its diagnosis is indeterminate": 1, "it has no diagnosis and no target": 1}
    assert report.dropped["its diagnosis is indeterminate"] == ["d"]
    assert [(count.column, count.original) for count in report.not_understood] == [("age_approx", "abc")]
    assert report.num_images == 5
    assert report.num_kept == 3
    figures = {"images": 3, "with target 1": 1, "with target 0": 2, "without target": 0, "patients": 0, "lesions": 1}
    assert report.sources == {"isic2019": figures}


def test_the_policy_changes_the_targets_and_what_is_kept():
    table, _ = normalize(TRUTH, policy="malignant", indeterminate="malignant")
    assert table["target"].tolist() == ["1", "0", "1", "1"]
    table, _ = normalize(TRUTH, policy="melanoma", indeterminate="benign")
    assert table["target"].tolist() == ["1", "0", "0", "0"]


def test_a_test_set_comes_out_without_a_target():
    table, report = normalize(METADATA)
    assert "target" not in table
    assert len(table) == 3
    assert report.count_dropped() == {}
    assert report.policy_text == "the tables have no labels, so there is no target"


def test_a_table_whose_labels_are_all_blank_is_a_test_set():
    table, report = normalization.normalize(
        [make_raw("bcn_filename,diagnosis,sex", "BCN_1.jpg,,male")], TablesConfig(tables=("none.csv",))
    )
    assert "target" not in table
    assert report.policy_text == "the tables have no labels, so there is no target"


def test_the_policy_in_words_names_the_tables_whose_target_stands_whatever_it_is():
    own = make_raw("image_name,diagnosis,target", "a,basal cell carcinoma,1", path="own.csv")
    table, report = normalization.normalize([own], TablesConfig(tables=("none.csv",)))
    assert table["target"].tolist() == ["1"]
    assert report.policy_text.endswith("are left out; but the target of own.csv is taken as it is")


def test_images_without_a_target_are_kept_where_no_labels_are_read():
    config = TablesConfig(tables=("none.csv",))
    table, report = normalization.normalize([TRUTH], config, keep_unlabeled=True)
    assert table["target"].tolist() == ["1", "0", "0", "", ""]
    assert report.count_dropped() == {}


def test_a_normalized_table_is_normalized_to_itself():
    table, _ = normalize(TRUTH, METADATA, policy="malignant")
    again, report = normalize(make_raw(*table.to_csv(index=False).splitlines()), policy="malignant")
    assert again.equals(table)
    assert report.not_understood == []
    assert report.tables[0].table_format.name == "isic_tf"


def test_the_word_unknown_stays_the_category_that_it_is_in_the_competition():
    raw = make_raw("image_name,diagnosis,target", "a,unknown,0", "b,,0", "c,xyz,0", "d,nevus,0")
    assert normalize(raw)[0]["diagnosis"].tolist() == ["unknown", "", "", "nevus"]


def test_columns_are_kept_where_asked_and_all_of_them_for_commands():
    raw = make_raw("image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,area,note", "a,1,0,0,0,0,0,0,0,1.5,x")
    table, _ = normalize(raw, keep=("area",))
    assert table["area"].tolist() == ["1.5"]
    assert "note" not in table
    table, _ = normalization.normalize([raw], TablesConfig(tables=("none.csv",)), keep_all=True)
    assert table[["area", "note"]].to_numpy().tolist() == [["1.5", "x"]]


@pytest.mark.parametrize(
    ("keep", "message"),
    [("sexx", "got 'sexx'; they have .*; did you mean sex?"), ("sex", "the output has that column anyway")],
)
def test_a_column_that_cannot_be_kept_is_refused(keep, message):
    with pytest.raises(errors.ConfigError, match=message):
        normalize(METADATA, keep=(keep,))


def test_a_table_of_which_nothing_is_left_is_refused_with_the_reasons():
    raw = make_raw("image_name,diagnosis", "a,nevuss", "b,nevuss")
    with pytest.raises(errors.IsicError, match="2 since its diagnosis is not understood.*: diagnosis 'nevuss'; check"):
        normalize(raw)


def test_a_format_that_no_table_has_is_refused(tmp_path):
    (tmp_path / "own.yaml").write_text("name: own\ncolumns: {image_name: photo}\n")
    with pytest.raises(errors.ConfigError, match=r"a table of the format own \(columns photo\), got none"):
        normalize(TRUTH, METADATA, format=("isic2019_truth", str(tmp_path / "own.yaml")))


def test_rows_without_a_file_are_left_out_and_listed(tmp_path):
    for name in ("a.jpg", "b.jpg", "z.jpg"):
        (tmp_path / name).touch()
    table, report = normalize(TRUTH, images=str(tmp_path))
    assert table["image_name"].tolist() == ["a", "b"]
    assert report.dropped["it has no image file"] == ["c"]
    assert any("1 image files of" in note and "'z'" in note for note in report.notes)


def test_a_target_that_is_not_what_the_diagnosis_says_is_noted():
    raw = make_raw("image_name,diagnosis,target", "a,melanoma,0", "b,nevus,0")
    table, report = normalize(raw)
    assert table["target"].tolist() == ["0", "0"]
    assert report.notes[0] == "a.csv: its column target is taken as it is, whatever the policy"
    assert report.notes[1].startswith("the target of 1 images is their table's own")
    assert "'melanoma is 0 (1)'" in report.notes[1]
