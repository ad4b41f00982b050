import pandas as pd
import pytest

from isic_tf.evaluation import compared_files
from tfrecord_tools import errors


def test_tables_are_named_by_their_path_or_number(tmp_path):
    sources = [pd.DataFrame(), tmp_path / "a.csv", pd.DataFrame()]
    assert compared_files.name_sources(sources) == ["predictions", str(tmp_path / "a.csv"), "predictions 3"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (([], None, None), "one or more prediction files"),
        ((["a.csv"], 0.5, 0.9), "mutually exclusive"),
        ((["a.csv"], 1.5, None), "a threshold from 0 to 1, got 1.5"),
        ((["a.csv"], None, 95), "a specificity from 0 to 1, got 95"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        compared_files.check_options(*options)


def test_files_of_other_images_are_refused():
    first = pd.DataFrame({"image_name": ["a", "b"]})
    compared_files.refuse_other_images(["one", "two"], [first, first])
    with pytest.raises(errors.IsicError, match=r"1 only in one \(b\); 1 only in two \(c\); evaluate one at a time"):
        compared_files.refuse_other_images(["one", "two"], [first, first.replace("b", "c")])
