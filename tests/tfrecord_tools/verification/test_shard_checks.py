import cv2
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from dicom_files import PICTURE

from tfrecord_tools.imaging import codec, preprocessing
from tfrecord_tools.io import tf_example, tfrecord
from tfrecord_tools.verification import shard_checks

SQUARE = codec.encode(preprocessing.pad(PICTURE, 64), 90)
PNG = cv2.imencode(".png", preprocessing.pad(PICTURE, 64))[1].tobytes()


def write(path, *records):
    """Writes (JPEG, features) pairs."""
    with tf.io.TFRecordWriter(str(path)) as writer:
        for jpeg, features in records:
            writer.write(tf_example.to_example(jpeg, **features))
    return str(path)


def problems(path, image_size=64, decode=True):
    return shard_checks.examine_shard(path, image_size, decode)[0]["problem"].tolist()


def test_valid_records_have_no_problem(tmp_path):
    path = write(tmp_path / "a", (SQUARE, {"image_name": "a", "target": 1}), (SQUARE, {"image_name": "b"}))
    table, facts = shard_checks.examine_shard(path, 64, True)
    assert table[["image_name", "target", "problem"]].to_numpy().tolist() == [["a", 1, ""], ["b", -1, ""]]
    assert facts["bytes"] == (tmp_path / "a").stat().st_size


def test_threads_change_nothing(tmp_path):
    images = [SQUARE, PNG, SQUARE[: len(SQUARE) // 2], SQUARE, b""] * 4
    path = write(tmp_path / "a", *((image, {"image_name": f"i{place}"}) for place, image in enumerate(images)))
    data = bytearray((tmp_path / "a").read_bytes())
    data[-3 * len(SQUARE)] ^= 1
    (tmp_path / "a").write_bytes(data)
    expected, facts = shard_checks.examine_shard(path, 64, True)
    assert expected["problem"].map(bool).sum() == 9
    table, same_facts = shard_checks.examine_shard(path, 64, True, threads=3)
    pd.testing.assert_frame_equal(table, expected, check_exact=True)
    assert same_facts == facts


@pytest.mark.parametrize(
    ("jpeg", "features", "problem"),
    [
        (b"", {}, "image is empty, expected JPEG or PNG"),
        (b"\x89PNG\r\n", {}, "image has an unknown format, expected JPEG or PNG"),
        (b"\x89PNG\r\n\x1a\n", {}, "image has no intact header"),
        (b"GIF89a", {}, "image is a GIF file, expected JPEG or PNG"),
        (codec.encode(PICTURE, 90), {}, "image is 64x48, but the manifest states 64x64"),
        (SQUARE[: len(SQUARE) // 2], {}, f"image is truncated ({len(SQUARE) // 2} bytes)"),
        (
            PNG[:60] + b"X" + PNG[61:],
            {},
            f"image is not an intact JPEG or PNG file ({len(PNG)} bytes): it is damaged "
            "in its chunk IDAT: its checksum differs",
        ),
        (SQUARE, {"target": 2}, "target must be 0 or 1, is 2"),
    ],
)
def test_a_bad_record_is_named(tmp_path, jpeg, features, problem):
    path = write(tmp_path / "a", (SQUARE, {"image_name": "good"}), (jpeg, {"image_name": "bad"} | features))
    assert problems(path) == ["", problem]


def test_a_png_is_valid_and_of_the_size_in_its_header(tmp_path):
    path = write(tmp_path / "a", (PNG, {"image_name": "a"}))
    assert problems(path) == [""]
    assert problems(path, image_size=32) == ["image is 64x64, but the manifest states 32x32"]


def test_the_means_of_red_and_blue_are_those_of_the_decoded_images(tmp_path):
    red = codec.encode(np.full((16, 16, 3), (40, 80, 200), np.uint8), 95)
    path = write(tmp_path / "a", (red, {"image_name": "a"}), (b"", {"image_name": "b"}))
    table, _ = shard_checks.examine_shard(path, None, True)
    assert table[["mean_red", "mean_blue"]].to_numpy() == pytest.approx(
        np.array([[200, 40], [np.nan] * 2]), 2, nan_ok=True
    )


def test_a_truncated_image_is_found_by_decoding_only(tmp_path):
    path = write(tmp_path / "a", (SQUARE[: len(SQUARE) // 2], {"image_name": "bad"}))
    assert problems(path, decode=False) == [""]


def test_an_image_of_too_many_pixels_is_not_decoded(tmp_path):
    data = bytearray(SQUARE)
    start = data.index(b"\xff\xc0")
    data[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    path = write(tmp_path / "a", (bytes(data), {"image_name": "bad"}))
    assert problems(path, None) == ["image has 65535x65535 pixels, expected sides of at most 32768"]


def test_damage_and_foreign_features_are_rows_too(tmp_path):
    path = write(tmp_path / "a", (SQUARE, {"image_name": "a"}), (SQUARE, {"image_name": "b"}))
    content = bytearray((tmp_path / "a").read_bytes())
    content[100] ^= 1
    (tmp_path / "a").write_bytes(content)
    assert problems(path) == ["the checksum of its data is wrong", ""]
    with tf.io.TFRecordWriter(str(tmp_path / "b")) as writer:
        writer.write(b"\xff")
    assert problems(str(tmp_path / "b")) == ["is not a tf.train.Example"]


def test_counts_are_compared_with_the_manifest(tmp_path):
    (tmp_path / "train02-1.tfrec").touch()
    names = ("train00-1.tfrec", "train01-1.tfrec", "train02-1.tfrec", "train03-1.tfrec")
    listed = [{"name": name, "records": 1, "bytes": 9, "sha256": "x"} for name in names]
    described = {
        str(tmp_path / "train00-1.tfrec"): {"bytes": 9, "sha256": "x"},
        str(tmp_path / "train01-1.tfrec"): {"bytes": 8, "sha256": "y"},
        str(tmp_path / "train09-1.tfrec"): {"bytes": 9, "sha256": "x"},
    }
    table = pd.DataFrame({"path": [str(tmp_path / "train00-1.tfrec")] + [str(tmp_path / "train01-1.tfrec")] * 2})
    assert shard_checks.check_counts(str(tmp_path), {"shards": listed}, described, table) == [
        "train01-1.tfrec has records 2, but the manifest states 1",
        "train01-1.tfrec has bytes 8, but the manifest states 9",
        "train01-1.tfrec has sha256 y, but the manifest states x",
        "train09-1.tfrec is not in the manifest",
        "train03-1.tfrec is in the manifest, but does not exist",
    ]


def test_names_and_targets_are_compared_with_the_index():
    rows = [("s", "0", "a", "1"), ("s", "1", "b", ""), ("t", "0", "c", "0")]
    index = pd.DataFrame(rows, columns=["shard", "position", "image_name", "target"])
    table = pd.DataFrame([("d/s", 0, "a", 0), ("d/s", 1, "b", 1)], columns=["path", "position", "image_name", "target"])
    assert shard_checks.check_index(index, table) == ["s has 1 records with another target than the index"]
    assert shard_checks.check_index(index, table.assign(path="d/u")) == ["the index lists other images than u holds"]
    moved = index.assign(position=["0", "1000000000", "0"], target="")
    assert shard_checks.check_index(moved, table) == ["s has 1 records at another position than the index"]
    assert shard_checks.check_index(index, table.iloc[::-1]) == ["the index lists other images than s holds"]


ROWS = [("a", "p", "0"), ("b", "p", "1"), ("c", "q", "1"), ("d", "q", "test"), ("e", "", "0"), ("f", "", "1")]
INDEX = pd.DataFrame([*ROWS, ("g", "r", ""), ("h", "r", "1")], columns=["image_name", "patient_id", "fold"])


def test_patients_and_pairs_in_two_places_are_leaks():
    pairs = pd.DataFrame([("a", "e"), ("e", "f"), ("a", "d"), ("g", "a"), ("a", "zz")])
    pairs.columns = ["image_name_1", "image_name_2"]
    assert shard_checks.check_leaks(INDEX, pairs) == [
        "1 patients are in two folds (for example p)",
        "1 patients are in training and test (for example q)",
        "2 pairs of listed duplicates are in two folds or splits (for example e and f)",
    ]
    assert shard_checks.check_leaks(INDEX.iloc[[0, 2, 4, 5, 6]], None) == []


@pytest.mark.realdata
def test_a_real_file_of_another_schema_is_named_feature_by_feature(real_data):
    found = problems(str(real_data / "tfrecord_foreign" / "train.tfrecords"))
    assert len(found) == 40
    assert found[0].startswith("lacks image (bytes); lacks image_name (bytes); has train/image (1 bytes), which")
    assert tfrecord.parse(b"")[1] == ["lacks image (bytes)", "lacks image_name (bytes)"]


def leak(*rows):
    columns = ["image_name", "patient_id", "lesion_id", "image_digest", "fold"]
    return shard_checks.check_leaks(pd.DataFrame(rows, columns=columns), None)


def test_lesions_photographs_and_other_spellings_in_two_places_are_leaks():
    assert leak(("a", "P1", "", "", "0"), ("b", "p1 ", "", "", "1")) == ["1 patients are in two folds (for example P1)"]
    assert leak(("a", "-1", "x", "", "0"), ("b", "-1", "X", "", "1")) == ["1 lesions are in two folds (for example x)"]
    assert leak(("a", "", "x", "", "0"), ("b", "", "x", "", "test")) == [
        "1 lesions are in training and test (for example x)"
    ]
    named = leak(("ISIC_0000001", "", "", "", "0"), ("isic_1.jpg", "", "", "", "1"))
    assert named == ["1 photographs under two names are in two folds (for example ISIC_0000001 and isic_1.jpg)"]
    copied = leak(("a", "", "", "0f", "0"), ("b", "", "", "0f", "1"))
    assert copied == ["1 photographs under two names are in two folds (for example a and b)"]
    assert leak(("a", "unknown", "", "0f", "0"), ("b", "unknown", "", "1f", "1"), ("c", "", "", "0f", "")) == []


def test_images_are_compared_with_the_digests_of_the_index():
    columns = ["position", "image_name", "target", "image_digest"]
    table = pd.DataFrame([("d/s", 0, "a", 0, "0f"), ("d/s", 1, "b", 1, "1f")], columns=["path", *columns])
    index = pd.DataFrame([("s", "0", "a", "0", "0f"), ("s", "1", "b", "1", "")], columns=["shard", *columns])
    assert shard_checks.check_index(index, table) == []
    changed = index.assign(image_digest=["2f", ""])
    assert shard_checks.check_index(changed, table) == ["s has 1 records with another image than the index"]
