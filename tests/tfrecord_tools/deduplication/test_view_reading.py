import logging

import pytest
from shard_files import JPEG

from tfrecord_tools import errors
from tfrecord_tools.deduplication import image_similarity, view_reading


def test_the_views_of_all_images_but_those_of_test_are_read(tmp_path, caplog):
    for name in ("b.jpg", "train/a.JPG", "test/c.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(JPEG)
    with caplog.at_level(logging.WARNING):
        names, views = view_reading.read_views(str(tmp_path), workers=1)
    assert sorted(names) == ["a", "b"]
    assert all(own.shape[1:] == (image_similarity.SIDE, image_similarity.SIDE) for own in views)
    assert f"the subdirectory test of {tmp_path} is not searched" in caplog.text


def test_a_directory_without_images_and_a_name_of_two_files_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.IsicError, match="no images in .*empty, expected JPEG, PNG"):
        view_reading.read_views(str(tmp_path / "empty"), workers=1)
    for path in (tmp_path / "none", f"{tmp_path / 'empty'},{tmp_path / 'none'}"):
        with pytest.raises(errors.IsicError, match="none not found; check the path"):
            view_reading.read_views(str(path), workers=1)
    for name in ("a.jpg", "a.jpeg"):
        (tmp_path / name).write_bytes(JPEG)
    with pytest.raises(errors.IsicError, match=r"some names have more: 'a' \(.*a.jpeg, .*a.jpg\)"):
        view_reading.read_views(str(tmp_path), workers=1)
