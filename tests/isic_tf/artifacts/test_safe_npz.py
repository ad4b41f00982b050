import io
import os

import numpy as np
import pytest

from isic_tf.artifacts import safe_npz
from tfrecord_tools.io import filesystem


def pack(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file


def test_arrays_are_read_back():
    found = safe_npz.unpack(pack(a=np.arange(3), b=np.array(["x"])), 10_000)
    assert found["a"].tolist() == [0, 1, 2]
    assert found["b"].tolist() == ["x"]


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_arrays_are_saved_whole_or_not_at_all(tmp_path, scheme):
    path = f"{scheme}{tmp_path}/run/a.npz"
    safe_npz.save(path, {"a": np.arange(3)})
    with pytest.raises(ValueError, match="expected arrays of numbers and texts for .*a.npz, got Python objects"):
        safe_npz.save(path, {"a": np.array([{}], object)})
    assert safe_npz.unpack(io.BytesIO(filesystem.read(path)), 10_000)["a"].tolist() == [0, 1, 2]
    assert os.listdir(tmp_path / "run") == ["a.npz"]


def test_archives_larger_than_expected_are_refused():
    with pytest.raises(ValueError, match="it holds 8128 bytes in 1 arrays, expected at most 8000"):
        safe_npz.unpack(pack(a=np.zeros(1000)), 8000)


def test_python_objects_and_damaged_archives_are_refused():
    with pytest.raises(ValueError, match="holds Python objects"):
        safe_npz.unpack(pack(a=np.array([{}], object)), 10_000)
    for content in (b"", b"no archive", pack(a=np.zeros(1000)).getvalue()[:-30]):
        with pytest.raises(ValueError, match="the archive is damaged"):
            safe_npz.unpack(io.BytesIO(content), 10_000)
