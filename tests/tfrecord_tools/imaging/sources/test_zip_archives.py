import pathlib
import tracemalloc
import zipfile

import pytest

from tfrecord_tools import errors
from tfrecord_tools.imaging import limits
from tfrecord_tools.imaging.sources import zip_archives

CONTENT = bytes(range(256)) * 20


@pytest.fixture
def path(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("train/", "")
        archive.writestr("train/b.jpg", CONTENT)
        archive.writestr("a.jpg", b"text")
    return str(tmp_path / "a.zip")


def test_files_are_listed_in_order_and_read_whole_or_from_their_start(path):
    archive = zip_archives.open_archive(path)
    assert zip_archives.list_members(archive) == ["a.jpg", "train/b.jpg"]
    assert zip_archives.read(archive, path, "train/b.jpg", limits.DEFAULTS) == CONTENT
    assert zip_archives.read_start(archive, path, "train/b.jpg", 5) == CONTENT[:5]
    assert [zip_archives.measure(archive, name) for name in ("a.jpg", "none.jpg")] == [4, -1]


def test_a_file_that_is_not_there_or_larger_than_the_limit_is_named(path):
    archive = zip_archives.open_archive(path)
    with pytest.raises(errors.CorruptRecordError, match=r"a.zip has no file c.jpg, expected one; check the path"):
        zip_archives.read(archive, path, "c.jpg", limits.DEFAULTS)
    archive.NameToInfo["train/b.jpg"].file_size = 3 << 20
    with pytest.raises(
        errors.CorruptRecordError, match=r"a.zip::train/b.jpg needs 3 MB to be decoded, expected at most 1"
    ):
        zip_archives.read(archive, path, "train/b.jpg", limits.ImageLimits(max_image_megabytes=1))


def test_damaged_archives_and_files_are_named(path, tmp_path):
    data = bytearray(pathlib.Path(path).read_bytes())
    data[90] ^= 255
    (tmp_path / "b.zip").write_bytes(data)
    archive = zip_archives.open_archive(str(tmp_path / "b.zip"))
    with pytest.raises(
        errors.CorruptRecordError, match=r"b.zip::train/b.jpg is damaged: .*; download the archive again"
    ):
        zip_archives.read(archive, "b.zip", "train/b.jpg", limits.DEFAULTS)
    (tmp_path / "c.zip").write_bytes(data[:100])
    with pytest.raises(
        errors.CorruptRecordError, match=r"c.zip is not an intact zip archive: .*; download it again, or"
    ):
        zip_archives.open_archive(str(tmp_path / "c.zip"))


def test_encrypted_and_unknown_compression_are_refused(path):
    archive = zip_archives.open_archive(path)
    archive.NameToInfo["a.jpg"].flag_bits |= 1
    with pytest.raises(errors.CorruptRecordError, match="a.zip::a.jpg is encrypted, expected a plain file; unpack"):
        zip_archives.read(archive, path, "a.jpg", limits.DEFAULTS)
    assert zip_archives.read_start(archive, path, "a.jpg", 4) == b""
    for method in (9, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, 77):
        archive.NameToInfo["train/b.jpg"].compress_type = method
        message = f"b.jpg is compressed by the method {method}, expected stored .0. or deflated .8.; unpack the archive"
        with pytest.raises(errors.CorruptRecordError, match=message):
            zip_archives.read(archive, path, "train/b.jpg", limits.DEFAULTS)
        assert zip_archives.read_start(archive, path, "train/b.jpg", 5) == b""


def test_no_more_is_inflated_than_the_archive_states(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.jpg", bytes(4 << 20))
    archive = zip_archives.open_archive(str(tmp_path / "a.zip"))
    archive.NameToInfo["a.jpg"].file_size = 10
    tracemalloc.start()
    with pytest.raises(errors.CorruptRecordError, match=r"a.zip::a.jpg is damaged: Bad CRC-32"):
        zip_archives.read(archive, "a.zip", "a.jpg", limits.DEFAULTS)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_an_archive_has_twice_is_listed_twice(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.jpg", b"one")
        archive.writestr("a.jpg", b"two")
    assert zip_archives.list_members(zip_archives.open_archive(str(tmp_path / "a.zip"))) == ["a.jpg", "a.jpg"]
