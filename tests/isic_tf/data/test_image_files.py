import re
import shutil
import zipfile

import cv2
import dicom_files
import image_bytes
import numpy as np
import pytest

from isic_tf.data import image_files, input_pipeline, photographs
from tfrecord_tools import errors
from tfrecord_tools.imaging import limits

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
    rows = image_files.list_files(str(directory))
    assert rows["image_name"].tolist() == ["a", "b"]
    assert rows["path"].tolist() == [str(directory / "a.png"), str(directory / "b.png")]
    assert rows["number"].tolist() == rows["position"].tolist() == [0, 1]
    assert set(rows["shard"]) == {str(directory)}
    csv = write(directory / "t.csv", "image_name,sex,age_approx", "b,female,", "a,male,45")
    rows = image_files.list_files(str(directory), csv, "age,sex")
    assert rows[["image_name", "age_approx", "sex"]].to_numpy().tolist() == [["a", 45, 0], ["b", -1, 1]]


def test_a_directory_without_images_is_refused(tmp_path):
    with pytest.raises(errors.IsicError, match="holds no JPEG, PNG, BMP, TIFF, WebP or DICOM files; check the path"):
        image_files.list_files(str(tmp_path), None, "")


def test_an_image_with_two_files_is_refused(directory):
    (directory / "a.jpg").write_bytes(b"")
    with pytest.raises(errors.IsicError, match=r"one file per image in .*: 'a' \(.*/a.jpg, .*/a.png\); remove"):
        image_files.list_files(str(directory))


def test_metadata_without_a_table_and_an_image_without_metadata_are_refused(directory):
    with pytest.raises(errors.ConfigError, match="uses age,sex as well as the image: give a table of image_name, age"):
        image_files.list_files(str(directory), None, "age,sex")
    csv = write(directory / "t.csv", "image_name,sex", "b,female")
    with pytest.raises(errors.IsicError, match=r"1 images of .* are not in .*t.csv \(first: a\); add them"):
        image_files.list_files(str(directory), csv, "sex")
    csv = write(directory / "t.csv", "image_name,sex", "a,male", "b,female", "b,female")
    with pytest.raises(errors.IsicError, match="must hold every image once"):
        image_files.list_files(str(directory), csv, "sex")


def test_patients_lesions_and_further_columns_are_added_where_the_table_has_them(directory):
    assert image_files.list_files(str(directory))["patient_id"].tolist() == ["", ""]
    csv = write(directory / "t.csv", "image_name,patient_id,lesion_id,sex", "b,IP_1,IL_1,male", "a,unknown,,female")
    found = image_files.list_files(str(directory), csv, "", ("sex", "diagnosis"))
    assert found["patient_id"].tolist() == ["", "IP_1"]
    assert found["lesion_id"].tolist() == ["", "IL_1"]
    assert found["sex"].tolist() == [1, 0]
    assert "diagnosis" not in found
    csv = write(directory / "t.csv", "image_name,sex", "a,male", "b,male")
    assert image_files.list_files(str(directory), csv)["patient_id"].tolist() == ["", ""]
    csv = write(directory / "t.csv", "image_name", "a", "a")
    with pytest.raises(errors.IsicError, match="must hold every image once"):
        image_files.list_files(str(directory), csv)


def test_rows_of_the_table_without_a_file_are_refused_unless_allowed(directory, capsys):
    csv = write(directory / "t.csv", "image_name,sex", "d,male", "b,male", "a,", "c,male")
    text = f"2 images of {csv} have no file in {directory} (first: d)"
    remedy = "; add the files, or go on without them with --allow_missing"
    with pytest.raises(errors.IsicError, match=f"^{re.escape(text + remedy)}$"):
        image_files.list_files(str(directory), csv)
    rows = image_files.list_files(str(directory), csv, "sex", allow_missing=True)
    assert rows[["image_name", "sex"]].to_numpy().tolist() == [["a", -1], ["b", 0]]
    assert capsys.readouterr().out.splitlines()[-1] == f"note: {text}"


def test_images_that_the_table_does_not_list_are_counted_and_need_leave_where_the_network_uses_it(directory, capsys):
    csv = write(directory / "t.csv", "image_name,sex", "b,female")
    assert len(image_files.list_files(str(directory), csv)) == 2
    assert capsys.readouterr().out.splitlines()[-1] == f"note: 1 images of {directory} are not in {csv} (first: a)"
    with pytest.raises(errors.IsicError, match=r"t.csv \(first: a\); add them .* or go on without them with --allow_m"):
        image_files.list_files(str(directory), csv, "sex")
    assert image_files.list_files(str(directory), csv, "sex", allow_missing=True)["sex"].tolist() == [-1, 1]


def test_names_are_joined_in_whatever_spelling_but_not_where_none_fits(directory):
    csv = write(directory / "t.csv", "image_name,patient_id", "A.PNG,P1", "b.png,P2")
    assert image_files.list_files(str(directory), csv)["patient_id"].tolist() == ["P1", "P2"]
    csv = write(directory / "t.csv", "image_name", "x", "y")
    with pytest.raises(errors.IsicError, match="names in common, got none \\('a' in one, 'x' in the other\\)"):
        image_files.list_files(str(directory), csv, allow_missing=True)


def test_images_of_several_places_are_listed_and_decoded(directory):
    (directory / "more" / "deep").mkdir(parents=True)
    shutil.move(directory / "b.png", directory / "more" / "deep" / "b.png")
    with zipfile.ZipFile(directory / "c.zip", "w") as archive:
        archive.write(directory / "a.png", "test/c.png")
    csv = write(directory / "t.csv", "image_name,sex", "deep/b.png,female", "test/c,male", "a,")
    sources = f"{directory}/more,{directory}/a,{directory}/c.zip"
    (directory / "a").mkdir()
    shutil.move(directory / "a.png", directory / "a" / "a.png")
    rows = image_files.list_files(sources, csv, "sex")
    assert rows[["image_name", "sex"]].to_numpy().tolist() == [["a", -1], ["b", 1], ["c", 0]]
    assert rows["path"].map(image_files.find_file).tolist()[1:] == [
        f"{directory}/more/deep/b.png",
        f"{directory}/c.zip",
    ]
    with photographs.open_reader(rows, 32, KNOWN, threads=2) as read:
        assert read(np.arange(3))[:, 16, 16].tolist() == [[200, 100, 50], [10, 20, 30], [200, 100, 50]]
    assert image_files.is_source(sources)
    assert not image_files.is_source(f"{directory}/*.tfrec")


def test_files_of_an_export_are_listed_by_their_directories_also_by_a_table_of_them(tmp_path):
    for place in ("P1", "P2"):
        (tmp_path / "e" / place).mkdir(parents=True)
        (tmp_path / "e" / place / "IMG1").write_bytes(dicom_files.made())
    csv = write(tmp_path / "t.csv", "image_name,patient_id", "P2_IMG1,q", "P1_IMG1,p")
    for table in (None, csv):
        rows = image_files.list_files(str(tmp_path / "e"), table)
        assert rows["image_name"].tolist() == ["P1_IMG1", "P2_IMG1"]
    assert rows["patient_id"].tolist() == ["p", "q"]


def test_a_monochrome_file_is_read_where_it_is_accepted(tmp_path):
    gray = np.full((48, 64), 50, np.uint8)
    data = dicom_files.made(gray, PhotometricInterpretation="MONOCHROME1", SamplesPerPixel=1)
    (tmp_path / "a.dcm").write_bytes(data)
    rows = image_files.list_files(str(tmp_path))
    accept = limits.ImageFileLimits(monochrome="accept")
    with photographs.open_reader(rows, 32, KNOWN, threads=1, limits=accept) as read:
        assert (read(np.array([0])) == 205).all()


def test_of_two_subdirectories_one_has_to_be_named(directory):
    (directory / "test").mkdir()
    (directory / "train").mkdir()
    with pytest.raises(errors.ConfigError, match="has the subdirectories train and test; name the one to predict"):
        image_files.list_files(str(directory))


def test_a_directory_with_the_other_subdirectory_only_is_refused_with_its_name(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(
        errors.IsicError, match="holds no JPEG, PNG, BMP, TIFF, WebP or DICOM files; name its subdirectory train"
    ):
        image_files.list_files(str(tmp_path))


def test_files_are_decoded_by_their_numbers_and_feed_an_evaluation(directory):
    rows = image_files.list_files(str(directory))
    with photographs.open_reader(rows, 32, KNOWN, threads=2) as read:
        images = read(np.array([1, 0, 1]))
        dataset = input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=2, images=read, threads=1)
        batch, names = next(dataset.as_numpy_iterator())
    assert images.shape == (3, 32, 32, 3)
    assert images.dtype == np.uint8
    assert images[:, 16, 16].tolist() == [[10, 20, 30], [200, 100, 50], [10, 20, 30]]
    assert names.tolist() == [b"a", b"b"]
    assert np.array_equal(batch, images[[1, 0]])


def test_assumed_preprocessing_is_logged(directory, capsys):
    rows = image_files.list_files(str(directory))
    with photographs.open_reader(rows, 32, KNOWN, threads=1):
        assert capsys.readouterr().out == ""
    with photographs.open_reader(rows, 32, {"resize": "crop"}, threads=1):
        assert capsys.readouterr().out == (
            "note: the preprocessing of the run's records is unknown; image files use trim_border=False, "
            "color_constancy=none\n"
        )


def test_a_file_that_cannot_be_decoded_is_named_also_through_a_dataset(directory):
    (directory / "c.jpg").write_bytes(b"\xff\xd8 and no more")
    rows = image_files.list_files(str(directory))
    with (
        pytest.raises(errors.IsicError, match=r"^\S*c\.jpg [^\n]*$"),
        photographs.open_reader(rows, 32, KNOWN, threads=1) as read,
    ):
        list(input_pipeline.make_eval_dataset(rows, image_size=32, batch_size=3, images=read, threads=1))
    with (
        pytest.raises(errors.IsicError, match="to skip unreadable images, use --on_error=skip$"),
        photographs.open_reader(rows, 32, KNOWN, threads=1) as read,
    ):
        read(np.array([2]))
    # Another error in the block is not a file's.
    with pytest.raises(ZeroDivisionError), photographs.open_reader(rows, 32, KNOWN, threads=1):
        raise ZeroDivisionError


def test_a_file_that_cannot_be_decoded_is_black_and_listed_where_such_files_are_skipped(directory):
    (directory / "c.jpg").write_bytes(b"\xff\xd8 and no more")
    rows = image_files.list_files(str(directory))
    skipped = {}
    with photographs.open_reader(rows, 32, KNOWN, threads=2, skipped=skipped) as read:
        images = read(np.array([0, 2]))
    assert images[0].any()
    assert not images[1].any()
    assert list(skipped) == ["c"]
    assert skipped["c"].startswith("c.jpg ")


def test_files_beyond_the_limits_are_named_and_open_colors_are_counted(directory, capsys):
    rows = image_files.list_files(str(directory))
    narrow = limits.ImageLimits(max_image_side=60)
    with (
        pytest.raises(errors.IsicError, match=r"a\.png has 64x48 pixels, expected sides of at most 60"),
        photographs.open_reader(rows, 32, KNOWN, threads=1, limits=narrow) as read,
    ):
        read(np.array([0]))
    frame = image_bytes.raw_rgb_jpeg(dicom_files.PICTURE)
    (directory / "c.dcm").write_bytes(dicom_files.made(frame, "1.2.840.10008.1.2.4.50"))
    rows = image_files.list_files(str(directory))
    with photographs.open_reader(rows, 32, KNOWN, threads=1) as read:
        read(np.array([0, 1, 2]))
    assert "note: the headers of 1 DICOM files leave open whether" in capsys.readouterr().out
