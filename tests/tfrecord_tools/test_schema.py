import numpy as np
import pytest
import tensorflow as tf

from tfrecord_tools import schema
from tfrecord_tools.io import csv_tables, record_index, tf_example


@pytest.mark.parametrize(
    ("column", "value", "code"),
    [
        ("sex", "male", 0),
        ("sex", "Female", 1),
        ("sex", "", -1),
        ("anatom_site_general_challenge", "head/neck", 0),
        ("anatom_site_general_challenge", "oral/genital", 5),
        ("anatom_site_general_challenge", "SKIN", -1),
        ("diagnosis", "unknown", 0),
        ("diagnosis", "lentigo NOS", 4),
        ("diagnosis", "atypical melanocytic proliferation", 8),
        ("age_approx", "45.0", 45),
        ("age_approx", "0", 0),
        ("age_approx", "", -1),
        ("target", "1", 1),
        ("target", "0.0", 0),
    ],
)
def test_encode_gives_the_published_codes(column, value, code):
    assert schema.encode(column, value) == code


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("age_approx", "old", "age_approx must be a number from 0 to 120 or blank, got 'old'"),
        ("age_approx", "-3", "got '-3'"),
        ("age_approx", "nan", "got 'nan'"),
        ("target", "2", "target must be 0 or 1, got '2'"),
        ("target", "0.5", "got '0.5'"),
    ],
)
def test_encode_refuses_what_is_no_age_or_label(column, value, message):
    with pytest.raises(ValueError, match=message):
        schema.encode(column, value)


def test_an_example_keeps_every_feature_and_its_bytes_do_not_depend_on_the_order_of_arguments():
    integers = {"sex": 1, "age_approx": 45, "target": 1, "width": 6000, "height": 4000, "patient_id": 7}
    serialized = tf_example.to_example(b"jpeg", "ISIC_1", **integers)
    assert serialized == tf_example.to_example(b"jpeg", "ISIC_1", **dict(reversed(integers.items())))
    record = tf.io.parse_single_example(serialized, tf_example.parse_spec(labelled=True))
    assert record["image"] == b"jpeg"
    assert record["image_name"] == b"ISIC_1"
    assert {name: int(record[name]) for name in integers} == integers
    assert int(record["diagnosis"]) == -1


def test_a_test_record_never_yields_a_label_though_it_carries_one():
    serialized = tf_example.to_example(b"jpeg", "ISIC_1", target=1)
    assert "target" not in tf.io.parse_single_example(serialized, tf_example.parse_spec(labelled=False))


def test_to_example_refuses_a_feature_of_no_schema():
    with pytest.raises(ValueError, match=r"expected features .*, got PatientName"):
        tf_example.to_example(b"jpeg", "ISIC_1", PatientName=3)


def test_read_table_keeps_text_as_it_is_and_takes_a_byte_order_mark(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfimage_name, patient_id,note\n007, 12 ,1e5\nNA,NA,\n")
    table = csv_tables.read_table(str(path), ("image_name", "patient_id"))
    # A word for a blank is one, except that an image may be called anything.
    assert table.to_numpy().tolist() == [["007", "12", "1e5"], ["NA", "", ""]]


def test_read_table_takes_capitals_and_the_line_ends_of_any_system(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfImage_Name,TARGET,Sex,Clinic\r\nA,1,Male,X\r\n")
    table = csv_tables.read_table(str(path), ("image_name", "target"))
    # Known columns are, with their values and others as they were.
    assert table.to_dict("list") == {"image_name": ["A"], "target": ["1"], "sex": ["Male"], "Clinic": ["X"]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no comma-separated UTF-8 table"),
        (b"image_name;x\na;1\n", r"bad.csv is separated by semicolons, expected commas"),
        (b"image_name;x\na;0,5\nb;0,25\n", r"bad.csv is separated by semicolons, expected commas"),
        (b"image_name\n", "holds a header and no rows"),
        (b"name,target\na,1\n", r"needs the columns image_name; it has only name, target"),
        (b"image_name,x\n\xff\xfe,1\n", "no comma-separated UTF-8 table"),
        (b"image_name,x\na,1\nb,1,2,3\n", "no comma-separated UTF-8 table"),
        (b"image_name,x\na,1,5\nb,0,6\n", "no comma-separated UTF-8 table: Length of header"),
    ],
)
def test_read_table_says_what_is_wrong_with_a_file(tmp_path, content, message):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        csv_tables.read_table(str(tmp_path / "bad.csv"), ("image_name",))


def test_read_table_names_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ValueError, match=r"expected a CSV file at .*nothing.csv, found none"):
        csv_tables.read_table(str(tmp_path / "nothing.csv"), ())


def write_index(folder, *lines):
    (folder / "train.index.csv").write_text("\n".join([",".join(schema.INDEX_COLUMNS), *lines]) + "\n")
    (folder / "train00-2.tfrec").touch()


def test_read_index_gives_numbers_paths_and_minus_one_for_blanks(tmp_path):
    write_index(tmp_path, "train00-2.tfrec,0,007,IP_1,1,3", "train00-2.tfrec,1,008,,,")
    index = record_index.read_index(str(tmp_path), "train")
    assert index["shard"].tolist() == [str(tmp_path / "train00-2.tfrec")] * 2
    assert index["image_name"].tolist() == ["007", "008"]
    assert index[["position", "target", "fold"]].to_numpy().tolist() == [[0, 1, 3], [1, -1, -1]]
    assert index["fold"].dtype == np.int64


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["../train00-2.tfrec,0,a,,1,0"], "must name shards by file name alone"),
        (["train00-2.tfrec,0,a,,1,zero"], "the column fold must hold whole numbers or blanks"),
        (["train00-2.tfrec,0,a,,1,0", "train00-2.tfrec,1,a,,1,0"], "lists 1 names twice, a first"),
        (["train01-2.tfrec,0,a,,1,0"], r"lists 1 shards that are not there, .*train01-2.tfrec first"),
    ],
)
def test_read_index_refuses_a_damaged_index(tmp_path, lines, message):
    write_index(tmp_path, *lines)
    with pytest.raises(ValueError, match=message):
        record_index.read_index(str(tmp_path), "train")


def test_read_index_says_that_no_shards_match(tmp_path):
    with pytest.raises(ValueError, match=r"no shards match: expected test records and .*test.index.csv"):
        record_index.read_index(str(tmp_path), "test")


def test_read_pairs_leaves_other_columns_out(tmp_path):
    (tmp_path / "pairs.csv").write_text("distance,image_name_1,image_name_2\n3,a,b\n")
    assert csv_tables.read_pairs(str(tmp_path / "pairs.csv")).to_dict("list") == {
        "image_name_1": ["a"],
        "image_name_2": ["b"],
    }


def test_read_pairs_refuses_half_a_pair(tmp_path):
    (tmp_path / "pairs.csv").write_text("image_name_1,image_name_2\na,b\nc,\n")
    with pytest.raises(ValueError, match="must name two images in every row, row 2"):
        csv_tables.read_pairs(str(tmp_path / "pairs.csv"))


@pytest.mark.parametrize(
    ("column", "value", "same"),
    [
        ("diagnosis", "MEL", "melanoma"),
        ("diagnosis", "nv", "nevus"),
        ("diagnosis", "BKL", "benign keratosis"),
        ("diagnosis", "akiec", "actinic keratosis"),
        ("diagnosis", "UNK", "unknown"),
        ("anatom_site_general_challenge", "anterior torso", "torso"),
        ("anatom_site_general_challenge", "lateral torso", "torso"),
    ],
)
def test_what_isic_2019_calls_a_category_is_its_code(column, value, same):
    assert schema.encode(column, value) == schema.encode(column, same) >= 0


@pytest.mark.realdata
def test_every_diagnosis_and_site_of_ham10000_has_a_code(real_data):
    table = csv_tables.read_table(str(real_data / "ham10000" / "train.csv"), ("diagnosis_code", "anatom_site_general"))
    columns = {"diagnosis_code": "diagnosis", "anatom_site_general": "anatom_site_general_challenge"}
    for column, name in columns.items():
        given = table.loc[table[column] != "", column]
        assert len(given) > 4000
        assert given.map(lambda value, name=name: schema.encode(name, value)).min() >= 0
