import pytest

from isic_tf.diagnosis import config
from tfrecord_tools import errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operate_at": "0.9"}, "expected --operate_at=sensitivity:LEVEL .* got '0.9'"),
        ({"operate_at": "sensitivity:1"}, "a level above 0 and below 1"),
        ({"operate_at": "recall:0.5"}, "got 'recall:0.5'"),
        ({"operate_at": "sensitivity:nan"}, "got 'sensitivity:nan'"),
        ({"prevalence": 1.5}, "expected a prevalence between 0 and 1, such as 0.0176, got 1.5"),
        ({"images": ()}, "expected image files or directories, got none"),
        ({"tta": 9}, "tta of at most 8"),
        ({"show_neighbors": True}, "together, got --show_neighbors; add --records"),
        ({"records": "train*"}, "together, got --records; add --show_neighbors"),
    ],
)
def test_options_out_of_range_are_refused(changes, message):
    with pytest.raises(errors.ConfigError, match=message):
        config.DiagnoseConfig(**{"workdir": "run", "images": ("a.jpg",), **changes})


def test_missing_files_are_named_before_anything_is_computed(run, tmp_path):
    with pytest.raises(errors.IsicError, match="nowhere"):
        config.DiagnoseConfig(workdir=str(tmp_path / "nowhere"), images=("a.jpg",)).check_inputs()
    options = config.DiagnoseConfig(workdir=str(run), images=("a.jpg",), csv=str(tmp_path / "none.csv"))
    with pytest.raises(errors.IsicError, match=r"none\.csv"):
        options.check_inputs()
    asked = {"show_neighbors": True, "records": str(tmp_path / "none*.tfrec")}
    with pytest.raises(errors.IsicError, match=r"none\*\.tfrec"):
        config.DiagnoseConfig(workdir=str(run), images=("a.jpg",), **asked).check_inputs()
    with pytest.raises(errors.ConfigError, match="expected a file name as --report and --json, got the directory"):
        config.DiagnoseConfig(workdir=str(run), images=("a.jpg",), report=str(tmp_path)).check_inputs()
