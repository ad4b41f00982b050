import errno

import pytest
import tensorflow as tf

from isic_tf.artifacts import disk_space
from tfrecord_tools import errors

HDF5 = "Can't write data (file write failed: filename = '{}', errno = 28, error message = 'No space left on device')"


def tensorflow_error(path):
    node = "{{function_node __wrapped__SaveV2_device_/job:localhost/replica:0/task:0/device:CPU:0}}"
    return tf.errors.ResourceExhaustedError(None, None, f"{node} {path}; No space left on device [Op:SaveV2]")


@pytest.mark.parametrize(
    "error",
    [
        tensorflow_error,
        lambda path: OSError(HDF5.format(path)),
        lambda path: OSError(errno.ENOSPC, "No space left on device", path),
        lambda path: OSError(errno.EDQUOT, "Disk quota exceeded", path),
        lambda path: RuntimeError(HDF5.format(path)),
        lambda path: errors.IsicError(f"expected room for {path}, but the disk is full; No space left on device"),
    ],
)
def test_a_full_disk_is_explained_with_file_need_and_remedy(tmp_path, error):
    path = str(tmp_path / "my run" / "ckpt-1_temp" / "part-0.tempstate1")
    with pytest.raises(errors.IsicError) as found, disk_space.explained_full_disk("run/fold0", lambda: "33.1 MB"):
        raise error(path)
    text = str(found.value)
    assert text.startswith(f"expected room for {path}, but the disk is full (")
    assert " MB are free); needed are 33.1 MB; free that much, then run the same command again: it goes on" in text
    assert "\n" not in text


@pytest.mark.parametrize("path", ["runs/b0, [1]/fold0/ckpt-1", "ckpt", "/mnt/my run/ckpt"])
def test_the_path_of_an_error_of_tensorflow_is_whole(path):
    assert disk_space.find_path(tensorflow_error(path)) == path
    assert disk_space.find_path(tf.errors.ResourceExhaustedError(None, None, f"{path}; No space left on")) == path


def test_the_cause_of_an_error_counts_and_the_directory_stands_for_an_unknown_file():
    expected = pytest.raises(errors.IsicError, match="expected room for run/fold0, but the disk is full")
    with expected, disk_space.explained_full_disk("run/fold0", lambda: "1 MB"):
        raise errors.IsicError("expected to write") from OSError(errno.ENOSPC, "No space left on device")


def test_other_errors_are_left_as_they_are():
    def estimate():
        raise AssertionError

    for error in (OSError(errno.EACCES, "not allowed"), tf.errors.InternalError(None, None, "other"), ValueError("x")):
        with pytest.raises(type(error)) as found, disk_space.explained_full_disk("run", estimate):
            raise error
        assert found.value is error
