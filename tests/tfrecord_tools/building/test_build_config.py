import pytest

from tfrecord_tools import errors
from tfrecord_tools.building import build_config


def check(**options):
    build_config.check_options(build_config.BuildConfig(**options))


@pytest.mark.parametrize(
    "options",
    [
        {"images": "jpeg", "csv": "t.csv", "output": "o", "folds": "f.csv"},
        {"records": "r/*", "output": "o"},
        {"records": "r/*,s/*", "csv": "t.csv", "output": "o", "split": "test"},
        {"images": "dicom", "csv_from_dicom": "t.csv"},
        {"images": "dicom", "csv_from_dicom": "t.csv", "pseudonyms": "key"},
    ],
    ids=str,
)
def test_options_that_fit_together_are_accepted(options):
    check(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"images": "jpeg", "csv": "t.csv"}, "--output is required: the directory of the new record set"),
        ({"records": "r/*", "csv_from_dicom": "t.csv"}, "--csv_from_dicom reads only --images; omit --records"),
        ({"records": "r/*,s/*", "output": "./s"}, "--output must not be the directory of --records, got ./s for both"),
        (
            {"images": "d", "csv": "t.csv", "output": "o", "pseudonyms": "key"},
            "--pseudonyms needs --csv_from_dicom, the table that gets the codes",
        ),
        ({"output": "o", "split": "test", "folds": "f.csv"}, "--folds needs --split=train, got --split=test"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        check(**options)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("image_size", 7),
        ("quality", 101),
        ("num_shards", 0),
        ("num_shards", 10_001),
        ("num_folds", 1),
        ("resize", "zoom"),
        ("on_error", "ask"),
    ],
)
def test_values_out_of_range_are_refused(option, value):
    with pytest.raises(errors.ConfigError, match=f"expected {option} "):
        build_config.BuildConfig(**{option: value})
