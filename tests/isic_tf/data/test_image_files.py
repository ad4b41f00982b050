import cv2
import numpy as np
import pytest

from isic_tf.data import image_files, input_pipeline
from tfrecord_tools import errors

KNOWN = {"resize": "stretch", "trim_border": "False", "color_constancy": "none"}


@pytest.fixture
def directory(tmp_path):
    """Two images of one color each, in reverse order of their names."""
    for name, color in (("b.png", (10, 20, 30)), ("a.png", (200, 100, 50))):
        image = np.full((48, 64, 3), color, np.uint8)
        assert cv2.imwrite(str(tmp_path / name), image[..., ::-1])
    return tmp_path


def write(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_images_are_listed_by_name_with_the_codes_of_their_metadata(directory):
    rows = image_files.list_files(str(directory), None, "")
    assert rows["image_name"].tolist() == ["a", "b"]
    assert rows["path"].tolist() == [str(directory / "a.png"), str(directory / "b.png")]
    assert rows["number"].tolist() == rows["position"].tolist() == [0, 1]
    assert set(rows["shard"]) == {str(directory)}
    csv = write(directory / "t.csv", "image_name,sex,age_approx", "b,female,", "a,male,45", "c,,")
    rows = image_files.list_files(str(directory), csv, "age,sex")
    assert rows[["image_name", "age_approx", "sex"]].to_numpy().tolist() == [["a", 45, 0], ["b", -1, 1]]


def test_a_directory_without_images_is_refused(tmp_path):
    with pytest.raises(errors.IsicError, match="holds no JPEG, PNG or DICOM files; check --images"):
        image_files.list_files(str(tmp_path), None, "")


def test_an_image_with_two_files_is_refused(directory):
    (directory / "a.jpg").write_bytes(b"")
    with pytest.raises(errors.IsicError, match=r"expected one file per image in .*, 1 images have more \(first: a\)"):
        image_files.list_files(str(directory), None, "")


def test_metadata_without_a_table_and_an_image_without_metadata_are_refused(directory):
    with pytest.raises(errors.ConfigError, match="uses age,sex as well as the image: give a table of image_name, age"):
        image_files.list_files(str(directory), None, "age,sex")
    csv = write(directory / "t.csv", "image_name,sex", "b,female")
    with pytest.raises(errors.IsicError, match=r"1 images of .* are not in .*t.csv \(first: a\); add them"):
        image_files.list_files(str(directory), csv, "sex")
    csv = write(directory / "t.csv", "image_name,sex", "a,male", "b,female", "b,female")
    with pytest.raises(errors.IsicError, match="must hold every image once"):
        image_files.list_files(str(directory), csv, "sex")


def test_patients_are_added_where_the_table_lists_them(directory):
    rows = image_files.list_files(str(directory), None, "")
    assert image_files.add_patients(rows, None)["patient_id"].tolist() == ["", ""]
    csv = write(directory / "t.csv", "image_name,patient_id,sex", "b,IP_1,male", "z,IP_2,female")
    found = image_files.add_patients(rows, csv, ("sex", "diagnosis"))
    assert found["patient_id"].tolist() == ["", "IP_1"]
    assert found["sex"].tolist() == [-1, 0]
    assert "diagnosis" not in found
    csv = write(directory / "t.csv", "image_name,sex", "a,male")
    assert image_files.add_patients(rows, csv)["patient_id"].tolist() == ["", ""]
    csv = write(directory / "t.csv", "image_name", "a", "a")
    with pytest.raises(errors.IsicError, match="must hold every image once"):
        image_files.add_patients(rows, csv)


def test_files_are_decoded_by_their_numbers_and_feed_an_evaluation(directory):
    rows = image_files.list_files(str(directory), None, "")
    with image_files.open_reader(rows, 32, KNOWN, threads=2) as read:
        images = read(np.array([1, 0, 1]))
        dataset = input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=2, images=read, threads=1)
        batch, names = next(dataset.as_numpy_iterator())
    assert images.shape == (3, 32, 32, 3)
    assert images.dtype == np.uint8
    assert images[:, 16, 16].tolist() == [[10, 20, 30], [200, 100, 50], [10, 20, 30]]
    assert names.tolist() == [b"a", b"b"]
    assert np.array_equal(batch, images[[1, 0]])


def test_assumed_preprocessing_is_logged(directory, capsys):
    rows = image_files.list_files(str(directory), None, "")
    with image_files.open_reader(rows, 32, KNOWN, threads=1):
        assert capsys.readouterr().out == ""
    with image_files.open_reader(rows, 32, {"resize": "crop"}, threads=1):
        assert capsys.readouterr().out == (
            "note: the preprocessing of the run's records is unknown; image files use trim_border=False, "
            "color_constancy=none\n"
        )


def test_a_file_that_cannot_be_decoded_is_named_also_through_a_dataset(directory):
    (directory / "c.jpg").write_bytes(b"\xff\xd8 and no more")
    rows = image_files.list_files(str(directory), None, "")
    with (
        pytest.raises(errors.IsicError, match=r"^\S*c\.jpg [^\n]*$"),
        image_files.open_reader(rows, 32, KNOWN, threads=1) as read,
    ):
        list(input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=3, images=read, threads=1))
    # Another error in the block is not a file's.
    with pytest.raises(ZeroDivisionError), image_files.open_reader(rows, 32, KNOWN, threads=1):
        raise ZeroDivisionError
