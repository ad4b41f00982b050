"""Rows are matched with image files."""

import pandas as pd
import pytest

from tfrecord_tools import errors
from tfrecord_tools.table_formats import image_check


def test_rows_with_a_file_are_found_in_any_spelling(tmp_path):
    for name in ("ISIC_1.jpg", "ISIC_0000002_downsampled.jpg", "other.png"):
        (tmp_path / name).touch()
    names = pd.Series(["ISIC_1", "ISIC_0000002", "ISIC_3"])
    has_file, others = image_check.find_files(names, str(tmp_path))
    assert has_file.tolist() == [True, True, False]
    assert others == ["other"]


def test_a_directory_without_the_images_is_refused(tmp_path):
    with pytest.raises(errors.IsicError, match="holds no image files"):
        image_check.find_files(pd.Series(["a"]), str(tmp_path))
    (tmp_path / "b.jpg").touch()
    with pytest.raises(errors.IsicError, match="names in common, got none"):
        image_check.find_files(pd.Series(["a"]), str(tmp_path))
